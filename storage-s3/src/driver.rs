//! [`S3`]: the driver. One line for each verb.

use std::fmt;
use std::sync::Arc;

use storage_core::{
    CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Key, Link, LinkVerifier, ListOptions,
    Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix, RenameOptions, Result,
    SaveOptions, UrlOptions, async_trait,
};

use crate::copy::Source;
use crate::shared::{Inner, Shared};
use crate::{copy, delete, info, link, list, open, rename, save, stat};

/// Stores objects in a bucket of S3 or of a compatible service.
///
/// Create it with [`S3::builder`], or by configuration after [`register`](crate::register). Clones
/// share connections and memory limits. All methods need a Tokio runtime.
///
/// A save or a copy whose future is dropped aborts its upload in the background, unless the service
/// may be completing it. A request that the service has already received may still take effect, so
/// that the object is then the new one.
#[derive(Clone)]
pub struct S3(Shared);

impl S3 {
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
            .field("features", &self.0.features)
            .field("part_size", &self.0.part_size)
            .field("concurrency", &self.0.concurrency)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for S3 {
    fn info(&self) -> DriverInfo {
        info::info(&self.0)
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
        delete::delete_many(&self.0, keys).await
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        delete::delete_folder_marker(&self.0, marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        list::list(&self.0, prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        copy::copy(&self.0, Source::new(&self.0, from), to, options).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        rename::rename(&self.0, from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        link::url(&self.0, key, options).await
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        link::verifier()
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Ok(self)
    }
}
