//! What an engine counts.

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

/// Fetches and purges since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Fetches from origin, those that failed, and the bytes that they received.
    pub(crate) origin_requests: Counter,
    pub(crate) origin_failures: Counter,
    pub(crate) origin_bytes: Counter,
    /// Fetches that broke off.
    pub(crate) broken_fills: Counter,
    /// Bodies that continued at origin.
    pub(crate) rescued: Counter,
    pub(crate) purges: Counter,
}
