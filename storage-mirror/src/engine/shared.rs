//! [`EngineOptions`], and [`Shared`]: the state that the engine and its fetches share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use storage_core::internal::TtlCache;
use storage_core::{Key, Storage};

use super::counters::Counters;
use super::fetches::Fetches;
use super::freshness::FreshnessPolicy;
use crate::store::{Limits, Store};

/// The options of an engine.
#[derive(Debug)]
pub(crate) struct EngineOptions {
    pub(crate) limits: Limits,
    /// How long a missing object counts as missing without a request to origin. Zero disables this.
    pub(crate) negative_ttl: Duration,
    pub(crate) freshness: FreshnessPolicy,
    pub(crate) stale: StalePolicy,
    /// Whether only objects with a strong ETag are stored. Bodies of others cannot continue at
    /// origin if the cache fails.
    pub(crate) requires_strong_etag: bool,
    /// Whether each failure of origin is logged, because no caller gets the error.
    pub(crate) logs_failures: bool,
    /// Whether requests are passed to origin, with its own timeouts, if a fetch has no response
    /// after a minute. If not, they fail with `Timeout`.
    pub(crate) passes_if_slow: bool,
    pub(crate) clock: Clock,
}

/// The failures of origin for which a stale version is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StalePolicy {
    /// All errors except `PermissionDenied`, and no response within 800 ms.
    AnyFailure,
    /// Retryable errors.
    RetryableErrors,
}

/// The clock that ages are measured with.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Creates a clock from a function that returns the time.
    pub(crate) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// The state of an engine.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) store: Store,
    pub(super) origin: Storage,
    pub(super) options: EngineOptions,
    pub(super) fetches: Fetches,
    pub(super) counters: Counters,
    /// Keys of missing objects.
    pub(super) missing: TtlCache<()>,
    /// Keys whose objects are not stored, with the reasons.
    pub(super) uncached: TtlCache<&'static str>,
    /// Set if the store may contain an object that a write replaces. Then no object is served.
    pub(super) is_off: AtomicBool,
}

impl Shared {
    /// Records that there is no object, unless the key was purged since this fetch began.
    pub(super) fn remember_missing(&self, key: &Key, number: u64) {
        if !self.options.negative_ttl.is_zero() {
            self.fetches.if_current(key, number, || self.missing.insert(key, ()));
        }
    }

    /// Deregisters the fetch of a key whose entry cannot be read. The fetch that wrote the entry
    /// may still be registered, and later requests must not read from its file.
    pub(super) fn forget_fetch(&self, key: &Key) {
        self.fetches.remove(key);
    }

    /// Records that an object is not stored, unless the key was purged since this fetch began.
    pub(super) fn remember_uncached(&self, key: &Key, number: u64, reason: &'static str) {
        self.fetches.if_current(key, number, || self.uncached.insert(key, reason));
    }
}
