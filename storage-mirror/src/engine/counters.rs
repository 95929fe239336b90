//! The counters of an engine.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows.
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

/// Counts fetches and purges since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Fetches from origin, failed fetches, and the bytes that all fetches received.
    pub(crate) origin_requests: Counter,
    pub(crate) origin_failures: Counter,
    pub(crate) origin_bytes: Counter,
    /// Fetches that ended before the object was complete.
    pub(crate) broken_fills: Counter,
    /// Bodies that continued at origin.
    pub(crate) rescued: Counter,
    pub(crate) purges: Counter,
}
