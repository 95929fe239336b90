//! [`Shared`]: the state that all verbs share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderMap;
use storage_client::Spool;
use storage_core::LinkBase;

use crate::budget::Budget;
use crate::checksums::ChecksumPolicy;
use crate::client::Client;
use crate::endpoint::Bucket;
use crate::quirks::Features;
use crate::tag_set::Tags;

/// The state of a driver. Bodies, listings and uploads in progress hold a clone of it.
pub(crate) type Shared = Arc<Inner>;

/// The client, the bucket, the options and the limits of a driver.
pub(crate) struct Inner {
    pub(crate) client: Client,
    /// The bucket as signed links address it.
    pub(crate) signing_bucket: Bucket,
    pub(crate) public_url: Option<LinkBase>,
    /// The headers of the options `acl`, `sse` and `storage_class`, sent with every object.
    pub(crate) object_headers: HeaderMap,
    /// The tags of every object that is saved: see `S3::with_tags`.
    pub(crate) tags: Option<Tags>,
    pub(crate) features: Features,
    pub(crate) checksum_policy: ChecksumPolicy,
    pub(crate) part_size: u64,
    pub(crate) concurrency: usize,
    /// Limits the memory of parts that are being saved. Saves wait for it.
    pub(crate) save_budget: Budget,
    /// Limits the memory of ranges that are read ahead. If it is exhausted, nothing is read ahead.
    pub(crate) read_budget: Budget,
    /// Collects objects without a length in temporary files.
    pub(crate) spool: Arc<Spool>,
    pub(crate) largest_copy: u64,
    /// Set once a response has shown that the bucket exists.
    pub(crate) bucket_exists: AtomicBool,
    /// Set once an object has shown the storage class of the option.
    pub(crate) storage_class_confirmed: AtomicBool,
    /// Whether requests and links are signed.
    pub(crate) can_sign: bool,
}

impl Inner {
    /// Returns the same state without object headers and tags.
    pub(crate) fn without_object_headers(&self) -> Self {
        Self { object_headers: HeaderMap::new(), ..self.with_tags(None) }
    }

    /// Returns the same state with these tags.
    pub(crate) fn with_tags(&self, tags: Option<Tags>) -> Self {
        Self {
            client: self.client.clone(),
            signing_bucket: self.signing_bucket.clone(),
            public_url: self.public_url.clone(),
            object_headers: self.object_headers.clone(),
            tags,
            features: self.features,
            checksum_policy: self.checksum_policy,
            part_size: self.part_size,
            concurrency: self.concurrency,
            save_budget: self.save_budget.clone(),
            read_budget: self.read_budget.clone(),
            spool: Arc::clone(&self.spool),
            largest_copy: self.largest_copy,
            bucket_exists: AtomicBool::new(false),
            storage_class_confirmed: AtomicBool::new(false),
            can_sign: self.can_sign,
        }
    }
}
