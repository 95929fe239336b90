//! [`Shared`]: what all verbs share. Each verb's file takes it as its first argument.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderMap;

use storage_core::LinkBase;

use crate::budget::Budget;
use crate::checksums::Checking;
use crate::client::Client;
use crate::endpoint::Bucket;
use crate::quirks::Abilities;

/// The state of a driver. Bodies, listings and uploads under way hold a clone of it.
pub(crate) type Shared = Arc<Inner>;

/// The state of a driver: the client, the bucket, the options and the shared limits.
pub(crate) struct Inner {
    pub(crate) client: Client,
    /// Where links lead to.
    pub(crate) signing_bucket: Bucket,
    pub(crate) public_url: Option<LinkBase>,
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
