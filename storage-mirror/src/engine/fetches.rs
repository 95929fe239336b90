//! [`Fetches`]: the fetches under way, at most one for each key, and their states.
//!
//! A fetch belongs to no request: it goes on when the request that began it is dropped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage_core::{Error, ErrorKind, Key};
use tokio::sync::watch;

use super::progress::Progress;
use super::version::CachedObject;

/// Upper bound for the fetches under way. Each has a task, a connection and a file.
const MAX_FETCHES: usize = 512;

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

    /// Tells fetches of the same key apart.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until origin has responded.
    pub(crate) async fn state(mut self) -> FetchState {
        let state = self.state.wait_for(Option::is_some).await.ok().and_then(|state| state.clone());
        state.unwrap_or_else(|| {
            FetchState::Failed(Arc::new(Error::new(
                ErrorKind::Unexpected,
                "the fetch from origin ended without a result",
            )))
        })
    }

    /// Whether its task has ended without a result.
    fn is_abandoned(&self) -> bool {
        self.state.has_changed().is_err() && self.state.borrow().is_none()
    }
}

/// The fetches under way.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    by_key: Mutex<HashMap<Key, Fetch>>,
}

/// A fetch that a request waits for.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) fetch: Fetch,
    /// Whether the fetch was under way already.
    pub(crate) collapsed: bool,
}

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Fetch>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fetch of a key. Begins one if there is none.
    pub(super) fn join(&self, key: &Key, begin: impl FnOnce() -> Fetch) -> Joined {
        join(&mut self.lock(), key, begin)
    }

    /// As [`join`](Self::join), or returns `None` if a new fetch would be one too many.
    pub(super) fn join_if_room(&self, key: &Key, begin: impl FnOnce() -> Fetch) -> Option<Joined> {
        let mut fetches = self.lock();
        let has_room = fetches.len() < MAX_FETCHES || fetches.contains_key(key);
        has_room.then(|| join(&mut fetches, key, begin))
    }

    /// Whether an object is on its way from origin.
    pub(super) fn is_fetching(&self, key: &Key) -> bool {
        self.lock().get(key).is_some_and(|fetch| !fetch.is_abandoned())
    }

    /// Whether a fetch of this key is registered.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// How many fetches are under way.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Deregisters the fetch of a key: the next request begins another.
    pub(super) fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// As [`remove`](Self::remove), for all keys with a prefix.
    pub(super) fn remove_prefix(&self, prefix: &str) {
        self.lock().retain(|key, _| !key.as_str().starts_with(prefix));
    }

    /// Deregisters a fetch that has ended. Another fetch of the key, begun after a purge, stays.
    pub(super) fn remove_ended(&self, key: &Key, number: u64) {
        let mut fetches = self.lock();
        if is_current(&fetches, key, number) {
            fetches.remove(key);
        }
    }

    /// Calls `act` if no purge of the key came since this fetch began. No purge comes meanwhile.
    pub(super) fn if_current(&self, key: &Key, number: u64, act: impl FnOnce()) {
        let fetches = self.lock();
        if is_current(&fetches, key, number) {
            act();
        }
    }
}

fn join(fetches: &mut HashMap<Key, Fetch>, key: &Key, begin: impl FnOnce() -> Fetch) -> Joined {
    if let Some(fetch) = fetches.get(key).filter(|fetch| !fetch.is_abandoned()) {
        return Joined { fetch: fetch.clone(), collapsed: true };
    }
    let fetch = begin();
    fetches.insert(key.clone(), fetch.clone());
    Joined { fetch, collapsed: false }
}

fn is_current(fetches: &HashMap<Key, Fetch>, key: &Key, number: u64) -> bool {
    fetches.get(key).is_some_and(|fetch| fetch.number() == number)
}
