//! [`Shared`]: what the engine and its fetches share.

use storage_core::internal::TtlCache;
use storage_core::{Key, Storage};

use super::counters::Counters;
use super::fetches::Fetches;
use super::freshness::FreshnessPolicy;
use crate::store::Store;

/// The state of an engine.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) store: Store,
    pub(super) origin: Storage,
    pub(super) freshness: FreshnessPolicy,
    pub(super) fetches: Fetches,
    pub(super) counters: Counters,
    /// Keys without an object.
    pub(super) missing: TtlCache<()>,
    /// Keys whose objects are not kept, with the reasons.
    pub(super) uncached: TtlCache<&'static str>,
}

impl Shared {
    /// Remembers that there is no object, unless the key was purged since this fetch began.
    pub(super) fn remember_missing(&self, key: &Key, number: u64) {
        self.fetches.if_current(key, number, || self.missing.insert(key, ()));
    }

    /// Remembers that an object is not kept, unless the key was purged since this fetch began.
    pub(super) fn remember_uncached(&self, key: &Key, number: u64, reason: &'static str) {
        self.fetches.if_current(key, number, || self.uncached.insert(key, reason));
    }
}
