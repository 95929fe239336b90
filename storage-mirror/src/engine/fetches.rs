//! [`Fetches`]: the running fetches, at most one for each key, and their states.
//!
//! A fetch continues when the request that began it is dropped.
//!
//! No fetch of a key begins while the key is being written, or is uncertain because a write of it
//! failed or was dropped. Otherwise the version that the write replaces could be stored.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage_core::{Error, Key};
use tokio::sync::watch;

use super::progress::Progress;
use super::uncertain::UncertainKeys;
use super::version::CachedObject;

/// Upper bound for the running fetches. Each has a task, a connection and a file.
pub(super) const MAX_FETCHES: usize = 512;

/// The reason if no fetch begins because [`MAX_FETCHES`] are running.
pub(super) const BUSY: &str = "busy";
/// The reason if no fetch begins because the key is in [`UncertainKeys`].
pub(super) const UNCERTAIN: &str = "its state at origin is uncertain";

/// The state of a fetch.
#[derive(Debug, Clone)]
pub(crate) enum FetchState {
    /// The body is arriving.
    Filling(Arc<Progress>),
    /// The object is in the store.
    Cached(CachedObject, Arrival),
    /// Origin has the object, and it is not stored, for this reason.
    NotCached(&'static str),
    /// Origin has no such object.
    Missing,
    /// Origin failed.
    Failed(Arc<Error>),
}

/// How the fetch made an object in the store current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Fetched,
    /// It was in the store, and origin confirmed it.
    NotModified,
}

/// A fetch, shared by the requests that wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    number: u64,
    /// `None` until origin has responded.
    state: watch::Receiver<Option<FetchState>>,
}

impl Fetch {
    /// Creates a fetch, and the sender with which its task sets the state.
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
        // The task panicked, or its runtime has shut down.
        state.unwrap_or(FetchState::NotCached("interrupted"))
    }

    /// Waits until the task has ended and is deregistered.
    pub(super) async fn ended(mut self) {
        while self.state.changed().await.is_ok() {}
    }

    /// Returns whether the task has ended without a result.
    fn is_abandoned(&self) -> bool {
        self.state.has_changed().is_err() && self.state.borrow().is_none()
    }
}

/// The running fetches and writes.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    inner: Mutex<Inner>,
    /// Whether a key was ever uncertain. If not, lookups take no lock.
    has_uncertain: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    by_key: HashMap<Key, Fetch>,
    /// The number of running writes of each key.
    writes: HashMap<Key, usize>,
    uncertain: UncertainKeys,
}

/// The reason why no fetch may begin.
type Refused = &'static str;

/// A fetch that a request waits for.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) fetch: Fetch,
    /// Whether the fetch was running already.
    pub(crate) collapsed: bool,
}

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fetch of a key. Begins one if there is none.
    ///
    /// # Errors
    /// Fails with the reason if no fetch may begin: the key is being written or uncertain, or
    /// [`MAX_FETCHES`] are running.
    pub(super) fn join(&self, key: &Key, begin: impl FnOnce() -> Fetch) -> Result<Joined, Refused> {
        let mut inner = self.lock();
        if inner.by_key.len() >= MAX_FETCHES && !inner.by_key.contains_key(key) {
            return Err(BUSY);
        }
        inner.join(key, begin)
    }

    /// Begins a write of keys. Deregisters their fetches, and prevents new ones until
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

    /// Makes keys uncertain for a minute. Deregisters their fetches, and prevents new ones.
    pub(super) fn set_uncertain(&self, keys: &[Key]) {
        let mut inner = self.lock();
        for key in keys {
            inner.by_key.remove(key);
            inner.uncertain.insert(key);
        }
        self.has_uncertain.store(true, Ordering::SeqCst);
    }

    /// Makes all keys uncertain, like [`set_uncertain`](Self::set_uncertain).
    pub(super) fn set_all_uncertain(&self) {
        let mut inner = self.lock();
        inner.by_key.clear();
        inner.uncertain.insert_all();
        self.has_uncertain.store(true, Ordering::SeqCst);
    }

    /// Returns whether a key is uncertain.
    pub(super) fn is_uncertain(&self, key: &Key) -> bool {
        self.has_uncertain.load(Ordering::SeqCst) && self.lock().uncertain.contains(key)
    }

    /// Returns the running fetch of a key.
    pub(super) fn get(&self, key: &Key) -> Option<Fetch> {
        self.lock().by_key.get(key).filter(|fetch| !fetch.is_abandoned()).cloned()
    }

    /// Returns whether a fetch of this key is registered.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.lock().by_key.contains_key(key)
    }

    /// Returns the number of running fetches.
    pub(super) fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Deregisters the fetch of a key, so that the next request begins another one.
    pub(super) fn remove(&self, key: &Key) {
        self.lock().by_key.remove(key);
    }

    /// Deregisters the fetches of all keys with a prefix, like [`remove`](Self::remove).
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

    /// Calls `act` if the key was not purged since this fetch began. No purge runs during the call.
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
