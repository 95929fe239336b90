//! [`Fills`]: the running fills, so that a purge also discards the fills that began before it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The running fills.
#[derive(Debug, Default)]
pub(super) struct Fills {
    by_key: Mutex<FillStates>,
}

/// By key and id.
type FillStates = BTreeMap<(Arc<str>, u64), Arc<FillState>>;

/// The state that a fill and a purge share.
#[derive(Debug, Default)]
pub(super) struct FillState {
    purged: AtomicBool,
    /// Locked while a fill becomes an entry: a concurrent purge either waits and finds the entry,
    /// or sets `purged` before the fill checks it.
    committing: Mutex<()>,
}

impl FillState {
    pub(super) fn is_purged(&self) -> bool {
        self.purged.load(Ordering::SeqCst)
    }

    pub(super) fn committing(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn purge(&self) {
        self.purged.store(true, Ordering::SeqCst);
        drop(self.committing());
    }
}

impl Fills {
    fn lock(&self) -> MutexGuard<'_, FillStates> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, key: &Arc<str>, id: u64) -> Arc<FillState> {
        let state = Arc::new(FillState::default());
        self.lock().insert((Arc::clone(key), id), Arc::clone(&state));
        state
    }

    pub(super) fn remove(&self, key: &Arc<str>, id: u64) {
        self.lock().remove(&(Arc::clone(key), id));
    }

    /// Marks all fills of a key as purged: none of them becomes an entry after this returns.
    pub(super) fn purge(&self, key: &str) {
        self.purge_from(key, |found| found == key);
    }

    /// Marks all fills of keys that begin with `prefix` as purged.
    pub(super) fn purge_prefix(&self, prefix: &str) {
        self.purge_from(prefix, |found| found.starts_with(prefix));
    }

    fn purge_from(&self, first: &str, matches: impl Fn(&str) -> bool) {
        let start = Bound::Included((Arc::from(first), 0));
        let states: Vec<_> = {
            let by_key = self.lock();
            let matching =
                by_key.range((start, Bound::Unbounded)).take_while(|((key, _), _)| matches(key));
            matching.map(|(_, state)| Arc::clone(state)).collect()
        };
        states.iter().for_each(|state| state.purge());
    }
}
