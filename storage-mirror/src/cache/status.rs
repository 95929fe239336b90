//! [`Status`]: what a cache has done.

use crate::engine::Counter;

/// What a cache has done since it was built, and what it holds. From
/// [`Cache::status`](super::Cache::status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether the directory is open. It is not before the first `open`, and while the cache is
    /// off because of trouble with the directory.
    pub is_open: bool,
    /// Opens that the cache served.
    pub hits: u64,
    /// Of these, opens of objects whose `ttl` was over, because origin failed.
    pub stale_hits: u64,
    /// Opens of objects that were fetched into the cache, also those that shared a fetch.
    pub fetched: u64,
    /// Opens that origin served without the cache.
    pub bypassed: u64,
    /// Fetches from origin that are under way.
    pub fetching: u64,
    /// Objects in the cache.
    pub objects: u64,
    /// Bytes of the directory that they take.
    pub bytes: u64,
}

/// Opens by how they were served.
#[derive(Debug, Default)]
pub(super) struct Opens {
    pub(super) hits: Counter,
    pub(super) stale_hits: Counter,
    pub(super) fetched: Counter,
    pub(super) bypassed: Counter,
}
