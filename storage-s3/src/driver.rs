//! [`S3`]: the driver. Each verb has a file of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderMap;
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Key, Link, ListOptions,
    Object, ObjectMeta, OpenOptions, Payload, Prefix, Result, SaveOptions, UrlOptions, async_trait,
    delete_one_by_one,
};
use url::Url;

use crate::budget::Budget;
use crate::checksums::Checking;
use crate::client::Client;
use crate::config::S3Builder;
use crate::endpoint::Bucket;
use crate::quirks::Abilities;
use crate::{copy, delete, link, list, open, save, stat};

/// A bucket as a driver. Cheap to clone; all clones share connections and memory limits.
///
/// Made by [`S3Builder`], or by configuration once [`register`](crate::register) has told a
/// registry of it.
#[derive(Clone)]
pub struct S3(Shared);

/// What the verbs work with, and what bodies, listings and uploads under way hold on to.
pub(crate) type Shared = Arc<Inner>;

/// See [`Shared`].
pub(crate) struct Inner {
    pub(crate) client: Client,
    /// Where links lead to.
    pub(crate) signing_bucket: Bucket,
    pub(crate) public_url: Option<Url>,
    /// What every object is saved with: ACL, encryption, storage class.
    pub(crate) object_headers: HeaderMap,
    pub(crate) abilities: Abilities,
    pub(crate) checking: Checking,
    pub(crate) part_size: u64,
    pub(crate) concurrency: usize,
    /// The room that saves wait for.
    pub(crate) save_budget: Budget,
    /// The room that reads take if there is any.
    pub(crate) read_budget: Budget,
    /// The room of the temporary directory for objects without a length.
    pub(crate) spool_budget: Budget,
    pub(crate) largest_copy: u64,
    /// Whether an answer has shown that there is a bucket.
    pub(crate) bucket_is_there: AtomicBool,
    /// Whether an object has shown that the service keeps the storage class of the option.
    pub(crate) keeps_storage_class: AtomicBool,
    /// Whether requests and links are signed.
    pub(crate) can_sign: bool,
}

impl Inner {
    /// The same bucket and limits, without what every object is saved with.
    pub(crate) fn plain(&self) -> Self {
        Self {
            client: self.client.clone(),
            signing_bucket: self.signing_bucket.clone(),
            public_url: self.public_url.clone(),
            object_headers: HeaderMap::new(),
            abilities: self.abilities,
            checking: self.checking,
            part_size: self.part_size,
            concurrency: self.concurrency,
            save_budget: self.save_budget.clone(),
            read_budget: self.read_budget.clone(),
            spool_budget: self.spool_budget.clone(),
            largest_copy: self.largest_copy,
            bucket_is_there: AtomicBool::new(false),
            keeps_storage_class: AtomicBool::new(false),
            can_sign: self.can_sign,
        }
    }
}

impl S3 {
    /// How to set up a driver for a bucket.
    #[must_use]
    pub fn builder(bucket: impl Into<String>) -> S3Builder {
        S3Builder::new(bucket)
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("client", &self.0.client)
            .field("abilities", &self.0.abilities)
            .field("part_size", &self.0.part_size)
            .field("concurrency", &self.0.concurrency)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for S3 {
    fn info(&self) -> DriverInfo {
        let mut capabilities = Capabilities::full();
        capabilities.create_new = self.0.abilities.conditional_put;
        capabilities.save_if_match = self.0.abilities.conditional_put;
        capabilities.public_url = self.0.public_url.is_some();
        capabilities.signed_get = self.0.can_sign;
        capabilities.signed_put = self.0.can_sign;
        capabilities.signed_post = self.0.can_sign && self.0.abilities.forms;
        DriverInfo::new("s3", self.0.client.bucket().location(), capabilities)
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        save::save(&self.0, key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        open::open(&self.0, key, options).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        stat::stat(&self.0, key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        stat::exists(&self.0, key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        delete::delete(&self.0, key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        if delete::can_be_one_request(&self.0, keys) {
            delete::delete_many(&self.0, keys).await
        } else {
            delete_one_by_one(self, keys).await
        }
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        delete::delete_folder_marker(&self.0, marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        list::list(&self.0, prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        copy::copy(&self.0, from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        link::url(&self.0, key, options).await
    }
}
