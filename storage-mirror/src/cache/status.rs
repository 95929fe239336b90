//! [`Status`]: the counters and the content of a cache.

use crate::engine::Counter;

/// The counters of a cache since it was built, and its content. Returned by
/// [`Cache::status`](super::Cache::status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether the directory is open. It is not before the first use, and while the cache is off
    /// because the directory cannot be used.
    pub is_open: bool,
    /// The number of opens that the cache served.
    pub hits: u64,
    /// The number of those `hits` that served a stale object because origin failed.
    pub stale_hits: u64,
    /// The number of opens that fetched an object into the cache or shared such a fetch.
    pub fetched: u64,
    /// The number of opens that were passed to origin.
    pub bypassed: u64,
    /// The number of running fetches from origin.
    pub fetching: u64,
    /// The number of objects in the cache.
    pub objects: u64,
    /// The disk space of the objects, in bytes.
    pub bytes: u64,
}

/// Counts opens by how they were served.
#[derive(Debug, Default)]
pub(super) struct Opens {
    pub(super) hits: Counter,
    pub(super) stale_hits: Counter,
    pub(super) fetched: Counter,
    pub(super) bypassed: Counter,
}
