//! [`Fetches`]: the fetches under way, at most one for each key, and their states.
//!
//! A fetch belongs to no request: it goes on when the request that began it is dropped.
//!
//! While a key is being written, or is uncertain because a write of it failed or was dropped, no
//! fetch of it begins, so that a version which the write replaces is not kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage_core::{Error, Key};
use tokio::sync::watch;

use super::progress::Progress;
use super::uncertain::UncertainKeys;
use super::version::CachedObject;

/// Upper bound for the fetches under way. Each has a task, a connection and a file.
pub(super) const MAX_FETCHES: usize = 512;

/// Why no fetch begins: there are as many as may be under way.
pub(super) const BUSY: &str = "busy";
/// Why no fetch of a key begins: see [`UncertainKeys`].
pub(super) const UNCERTAIN: &str = "its state at origin is uncertain";

/// What a fetch has come to.
#[derive(Debug, Clone)]
pub(crate) enum FetchState {
    /// Bytes are arriving.
    Filling(Arc<Progress>),
    /// The object is in the store.
    Cached(CachedObject, Arrival),
    /// Origin has the object, and it is not kept, for this reason.
    NotCached(&'static str),
    /// Origin has no such object.
    Missing,
    /// Origin failed.
    Failed(Arc<Error>),
}

/// How an object in the store has come there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Fetched,
    /// It was there, and origin confirmed it.
    NotModified,
}

/// One fetch, as the requests see it that wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    number: u64,
    /// `None` until origin has responded.
    state: watch::Receiver<Option<FetchState>>,
}

impl Fetch {
    /// Creates a fetch, and the end at which its task reports.
    pub(super) fn new() -> (watch::Sender<Option<FetchState>>, Self) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (sender, state) = watch::channel(None);
        (sender, Self { number, state })
    }

    /// Returns the number that distinguishes the fetches of a key.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until origin has responded.
    pub(crate) async fn state(mut self) -> FetchState {
        let state = self.state.wait_for(Option::is_some).await.ok().and_then(|state| state.clone());
        // The task panicked, or the runtime that it ran on has ended.
        state.unwrap_or(FetchState::NotCached("interrupted"))
    }

    /// Waits until its task has ended, and is deregistered.
    pub(super) async fn ended(mut self) {
        while self.state.changed().await.is_ok() {}
    }

    /// Whether its task has ended without a result.
    fn is_abandoned(&self) -> bool {
        self.state.has_changed().is_err() && self.state.borrow().is_none()
    }
}

/// The fetches under way, and the writes.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    inner: Mutex<Inner>,
    /// Whether a key was ever uncertain. If not, look-ups take no lock.
    has_uncertain: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    by_key: HashMap<Key, Fetch>,
    /// How many writes of each key are under way.
    writes: HashMap<Key, usize>,
    uncertain: UncertainKeys,
}

/// Why no fetch may begin.
type Refused = &'static str;

/// A fetch that a request waits for.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) fetch: Fetch,
    /// Whether the fetch was under way already.
    pub(crate) collapsed: bool,
}

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fetch of a key. Begins one if there is none.
    ///
    /// # Errors
    /// The reason if no fetch may begin: the key is being written or uncertain, or the fetch would
    /// exceed the bound.
    pub(super) fn join(&self, key: &Key, begin: impl FnOnce() -> Fetch) -> Result<Joined, Refused> {
        let mut inner = self.lock();
        if inner.by_key.len() >= MAX_FETCHES && !inner.by_key.contains_key(key) {
            return Err(BUSY);
        }
        inner.join(key, begin)
    }

    /// Begins a write of keys: their fetches are deregistered, and no new ones begin until
    /// [`end_write`](Self::end_write).
    pub(super) fn begin_write(&self, keys: &[Key]) {
        let mut inner = self.lock();
        for key in keys {
            inner.by_key.remove(key);
            *inner.writes.entry(key.clone()).or_default() += 1;
        }
    }

    /// Ends a write of keys.
    pub(super) fn end_write(&self, keys: &[Key]) {
        let mut inner = self.lock();
        for key in keys {
            if let Some(writes) = inner.writes.get_mut(key) {
                *writes -= 1;
                if *writes == 0 {
                    inner.writes.remove(key);
                }
            }
        }
    }

    /// Makes keys uncertain for a minute. Their fetches are deregistered, and no new ones begin.
    pub(super) fn set_uncertain(&self, keys: &[Key]) {
        let mut inner = self.lock();
        for key in keys {
            inner.by_key.remove(key);
            inner.uncertain.insert(key);
        }
        self.has_uncertain.store(true, Ordering::SeqCst);
    }

    /// As [`set_uncertain`](Self::set_uncertain), for all keys.
    pub(super) fn set_all_uncertain(&self) {
        let mut inner = self.lock();
        inner.by_key.clear();
        inner.uncertain.insert_all();
        self.has_uncertain.store(true, Ordering::SeqCst);
    }

    /// Whether a key is uncertain.
    pub(super) fn is_uncertain(&self, key: &Key) -> bool {
        self.has_uncertain.load(Ordering::SeqCst) && self.lock().uncertain.contains(key)
    }

    /// Returns the fetch of a key that is under way.
    pub(super) fn get(&self, key: &Key) -> Option<Fetch> {
        self.lock().by_key.get(key).filter(|fetch| !fetch.is_abandoned()).cloned()
    }

    /// Whether a fetch of this key is registered.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.lock().by_key.contains_key(key)
    }

    /// How many fetches are under way.
    pub(super) fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Deregisters the fetch of a key: the next request begins another.
    pub(super) fn remove(&self, key: &Key) {
        self.lock().by_key.remove(key);
    }

    /// As [`remove`](Self::remove), for all keys with a prefix.
    pub(super) fn remove_prefix(&self, prefix: &str) {
        self.lock().by_key.retain(|key, _| !key.as_str().starts_with(prefix));
    }

    /// Deregisters a fetch that has ended. Another fetch of the key, begun after a purge, stays.
    pub(super) fn remove_ended(&self, key: &Key, number: u64) {
        let mut inner = self.lock();
        if inner.is_current(key, number) {
            inner.by_key.remove(key);
        }
    }

    /// Calls `act` if no purge of the key came since this fetch began. No purge comes meanwhile.
    pub(super) fn if_current(&self, key: &Key, number: u64, act: impl FnOnce()) {
        let inner = self.lock();
        if inner.is_current(key, number) {
            act();
        }
    }
}

impl Inner {
    fn join(&mut self, key: &Key, begin: impl FnOnce() -> Fetch) -> Result<Joined, Refused> {
        if let Some(fetch) = self.by_key.get(key).filter(|fetch| !fetch.is_abandoned()) {
            return Ok(Joined { fetch: fetch.clone(), collapsed: true });
        }
        if self.writes.contains_key(key) {
            return Err("being written");
        }
        if self.uncertain.contains(key) {
            return Err(UNCERTAIN);
        }
        let fetch = begin();
        self.by_key.insert(key.clone(), fetch.clone());
        Ok(Joined { fetch, collapsed: false })
    }

    fn is_current(&self, key: &Key, number: u64) -> bool {
        self.by_key.get(key).is_some_and(|fetch| fetch.number() == number)
    }
}
