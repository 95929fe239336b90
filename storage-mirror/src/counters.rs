//! What has been counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a mirror counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests for objects by how they were answered.
    pub(crate) hits: Counter,
    pub(crate) stale_hits: Counter,
    pub(crate) revalidated: Counter,
    pub(crate) misses: Counter,
    pub(crate) collapsed: Counter,
    pub(crate) passed: Counter,
    pub(crate) missing: Counter,
    pub(crate) failed: Counter,
    /// Bytes of bodies sent, from the cache and from origin as they arrived.
    pub(crate) hit_bytes: Counter,
    pub(crate) miss_bytes: Counter,
    /// What went to origin, and came from it.
    pub(crate) origin_requests: Counter,
    pub(crate) origin_failures: Counter,
    pub(crate) origin_bytes: Counter,
    pub(crate) broken_fills: Counter,
    /// Bodies whose reading went on at origin.
    pub(crate) rescued: Counter,
    pub(crate) purges: Counter,
    /// Connections of clients that had too many.
    pub(crate) refused_connections: Counter,
}
