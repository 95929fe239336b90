//! [`Engine`]: finds a version of an object, in the store or at origin.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use storage_core::internal::TtlCache;
use storage_core::{Error, ErrorKind, Key, Object, OpenOptions, Result, Storage};

use super::body;
use super::counters::Counters;
use super::fetch_task::{self, SLOW};
use super::fetches::{Arrival, BUSY, FetchState, Fetches, Joined, UNCERTAIN};
use super::freshness::{Freshness, State};
use super::off_thread::off_thread;
use super::shared::{EngineOptions, Shared, StalePolicy};
use super::version::{CachedObject, Version};
use crate::store::{Entry, EntryMeta, Store, Usage};

/// The maximum number of recorded keys of missing objects, and of objects that are not stored.
const MAX_REMEMBERED: usize = 100_000;
/// How long an object is passed to origin after it could not be stored.
const UNCACHED_TTL: Duration = Duration::from_secs(60);
/// How long a request waits for origin if a stale version may be served.
const REVALIDATION_TIMEOUT: Duration = Duration::from_millis(800);
/// The reason if a running fetch is not joined.
const OUTDATED: &str = "the fetch is older than the object may be";

/// A cache of the objects of an origin. Cheap to clone; clones share the cache.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(super) shared: Arc<Shared>,
}

/// The result of a lookup.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A version of the object.
    Version(Version, CacheStatus),
    /// The object is not stored, for this reason. Pass the request to origin.
    Pass(&'static str),
    /// The object does not exist. `was_forwarded` states that this request was sent to origin.
    Missing { was_forwarded: bool },
    /// Origin failed. `had_stale` states that the store has a stale version that must not be
    /// served.
    Failed { error: Error, had_stale: bool },
}

/// How a version was found, for the header `Cache-Status` (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// It was in the store, and remains fresh for `ttl`.
    Hit { ttl: Duration },
    /// It was in the store and stale, and is served while it is revalidated.
    StaleWhileRevalidate,
    /// It was in the store and stale, and is served because origin failed.
    StaleIfError,
    /// It was in the store and stale, and origin confirmed it.
    Revalidated,
    /// A stale version was in the store, and origin sent another one.
    Replaced { collapsed: bool },
    /// It was not in the store.
    Miss { collapsed: bool },
}

impl Engine {
    /// Opens the cache directory. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) fn open(cache_dir: &Path, origin: Storage, options: EngineOptions) -> Result<Self> {
        let (store, recovered) = Store::open(cache_dir, options.limits.clone())?;
        let (objects, bytes) = (recovered.objects, recovered.bytes);
        tracing::info!(
            objects,
            bytes,
            dropped = recovered.dropped,
            partial = recovered.partial,
            "the cache is open"
        );
        let shared = Shared {
            store,
            origin,
            fetches: Fetches::default(),
            counters: Counters::default(),
            missing: TtlCache::new(options.negative_ttl, MAX_REMEMBERED),
            uncached: TtlCache::new(UNCACHED_TTL, MAX_REMEMBERED),
            is_off: AtomicBool::new(false),
            options,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn origin(&self) -> &Storage {
        &self.shared.origin
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Returns the figures of the store.
    pub(crate) fn usage(&self) -> Usage {
        self.shared.store.usage()
    }

    /// Returns the `n` entries with the most hits since the start. Visits all entries.
    pub(crate) fn top(&self, n: usize) -> Vec<Arc<Entry>> {
        self.shared.store.top(n)
    }

    /// Returns the number of running fetches from origin.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.fetches.len()
    }

    /// Finds a version of an object. Waits for origin only if the store has none that may be
    /// served.
    pub(crate) async fn find(&self, key: &Key) -> Lookup {
        let cached = self.look_up(key, self.shared.store.get(key.as_str())).await;
        // After the lookup, so that a write that ended before it is taken into account.
        if self.is_off() {
            return Lookup::Pass("off");
        }
        if self.shared.fetches.is_uncertain(key) {
            return Lookup::Pass(UNCERTAIN);
        }
        let Some(cached) = cached else {
            return self.miss(key).await;
        };
        let (freshness, age) = self.freshness(key, &cached.meta);
        match freshness.state(age) {
            State::Fresh => {
                let ttl = freshness.lifetime.saturating_sub(age);
                Lookup::Version(Version::Cached(cached), CacheStatus::Hit { ttl })
            }
            State::StaleWhileRevalidate => {
                let _refresh = self.join(key, Some(&cached));
                Lookup::Version(Version::Cached(cached), CacheStatus::StaleWhileRevalidate)
            }
            State::Stale => self.revalidate(key, &cached, freshness.may_serve_on_error(age)).await,
        }
    }

    /// Reads a version that [`find`](Self::find) returned. The body continues at origin if the
    /// store can no longer supply it.
    ///
    /// # Errors
    /// Fails with `NotModified` or `PreconditionFailed` if a condition of the options does not
    /// hold, and with `RangeNotSatisfiable` if the object has none of the bytes.
    pub(crate) async fn read(&self, version: &Version, options: &OpenOptions) -> Result<Object> {
        body::open(&self.shared, version, options).await
    }

    /// Returns whether a request for an object would be served without waiting for origin. If not,
    /// begins to fetch it.
    pub(crate) async fn is_ready(&self, key: &Key) -> bool {
        match self.look_up(key, self.shared.store.peek(key.as_str())).await {
            Some(cached) => {
                let (freshness, age) = self.freshness(key, &cached.meta);
                if freshness.state(age) != State::Fresh {
                    let _refresh = self.join(key, Some(&cached));
                }
                freshness.may_serve_on_error(age) || freshness.state(age) != State::Stale
            }
            None => {
                if !self.is_known_missing(key) && !self.shared.uncached.contains(key) {
                    let _fetch = self.join(key, None);
                }
                false
            }
        }
    }

    /// Returns the version in the store if it is fresh. Sends no request to origin.
    pub(crate) async fn find_fresh(&self, key: &Key) -> Option<Version> {
        let cached = self.look_up(key, self.shared.store.get(key.as_str())).await?;
        let (freshness, age) = self.freshness(key, &cached.meta);
        let is_fresh = freshness.state(age) == State::Fresh;
        let bypasses_cache = self.is_off() || self.shared.fetches.is_uncertain(key);
        (is_fresh && !bypasses_cache).then_some(Version::Cached(cached))
    }

    /// Reads a version like [`read`](Self::read). Returns `None` if the store cannot supply the
    /// first byte.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) async fn try_read(
        &self,
        version: &Version,
        options: &OpenOptions,
    ) -> Result<Option<Object>> {
        body::try_open(&self.shared, version, options).await
    }

    /// Returns whether an object is being fetched from origin.
    pub(crate) fn is_fetching(&self, key: &Key) -> bool {
        self.shared.fetches.get(key).is_some()
    }

    /// Returns whether an object is in the store or being fetched.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.shared.store.peek(key.as_str()).is_some() || self.shared.fetches.contains(key)
    }

    /// Returns whether origin reported the object as missing less than `negative_ttl` ago.
    pub(crate) fn is_known_missing(&self, key: &Key) -> bool {
        self.shared.missing.contains(key)
    }

    /// Forgets that an object is missing, so that the next request goes to origin.
    pub(crate) fn forget_missing(&self, key: &Key) {
        self.shared.missing.remove(key);
    }

    /// Removes an object from the cache. A running fetch still serves the requests that wait for
    /// it, and its object is not stored. Returns whether there was an object.
    ///
    /// # Errors
    /// As [`Store::purge`].
    pub(crate) async fn purge(&self, key: &Key) -> Result<bool> {
        let shared = &self.shared;
        shared.counters.purges.add(1);
        // First, so that later requests begin a new fetch, and no earlier fetch adds to the records
        // below.
        shared.fetches.remove(key);
        shared.missing.remove(key);
        shared.uncached.remove(key);
        let (store, key) = (shared.store.clone(), key.clone());
        off_thread(move || store.purge(key.as_str())).await
    }

    /// Removes all objects with a prefix. Returns their number.
    ///
    /// # Errors
    /// As [`Store::purge_prefix`].
    pub(crate) async fn purge_prefix(&self, prefix: &str) -> Result<usize> {
        let shared = &self.shared;
        shared.counters.purges.add(1);
        shared.fetches.remove_prefix(prefix);
        shared.missing.clear();
        shared.uncached.clear();
        let (store, prefix) = (shared.store.clone(), prefix.to_owned());
        off_thread(move || store.purge_prefix(&prefix)).await
    }

    /// Returns an entry with its metadata. Returns `None` if there is no entry or its metadata
    /// cannot be read.
    async fn look_up(&self, key: &Key, entry: Option<Arc<Entry>>) -> Option<CachedObject> {
        let entry = entry?;
        let meta = match self.shared.store.try_meta(&entry) {
            Some(meta) => Ok(meta),
            None => {
                let (store, entry) = (self.shared.store.clone(), Arc::clone(&entry));
                off_thread(move || store.meta(&entry)).await
            }
        };
        let unreadable = |error: &Error| {
            tracing::debug!(%error, "metadata cannot be read");
            self.shared.forget_fetch(key);
        };
        let meta = meta.inspect_err(unreadable).ok()?;
        Some(CachedObject { entry, meta })
    }

    /// Returns the freshness of an entry, and its age.
    fn freshness(&self, key: &Key, meta: &EntryMeta) -> (Freshness, Duration) {
        let freshness =
            self.shared.options.freshness.of(key, &meta.object.metadata, meta.response_date());
        (freshness, meta.age_at(self.shared.options.clock.now()))
    }

    /// Returns whether a purge has failed. Then the cache serves nothing.
    pub(crate) fn is_off(&self) -> bool {
        self.shared.is_off.load(Ordering::SeqCst)
    }

    fn join(&self, key: &Key, cached: Option<&CachedObject>) -> JoinResult {
        let shared = &self.shared;
        shared.fetches.join(key, || fetch_task::begin(shared, key, cached.cloned()))
    }

    /// Returns whether a fetch that was joined at an instant receives an object that was stale by
    /// then, where the freshness lifetime is an upper bound. The body may take long to arrive.
    fn is_outdated(&self, key: &Key, state: &FetchState, joined_at: Instant) -> bool {
        let FetchState::Filling(progress) = state else { return false };
        let EngineOptions { freshness, clock, .. } = &self.shared.options;
        if !freshness.is_upper_bound || !progress.received_before(joined_at) {
            return false;
        }
        let date = progress.meta.response.map_or_else(|| clock.now(), |response| response.date);
        progress.age() >= freshness.of(key, &progress.meta.metadata, date).lifetime
    }

    async fn miss(&self, key: &Key) -> Lookup {
        if self.is_known_missing(key) {
            return Lookup::Missing { was_forwarded: false };
        }
        if let Some(reason) = self.shared.uncached.get(key) {
            return Lookup::Pass(reason);
        }
        let joined_at = Instant::now();
        let Joined { fetch, collapsed } = match self.join(key, None) {
            Ok(joined) => joined,
            Err(reason) => return Lookup::Pass(reason),
        };
        let state = fetch.state().await;
        if collapsed && self.is_outdated(key, &state, joined_at) {
            return Lookup::Pass(OUTDATED);
        }
        lookup(state, CacheStatus::Miss { collapsed })
            .unwrap_or_else(|error| Lookup::Failed { error: duplicate(&error), had_stale: false })
    }

    /// Revalidates the version in the store. `may_be_stale` states that it may be served if origin
    /// fails.
    async fn revalidate(&self, key: &Key, cached: &CachedObject, may_be_stale: bool) -> Lookup {
        let stale = || Lookup::Version(Version::Cached(cached.clone()), CacheStatus::StaleIfError);
        let pass = |reason| match reason {
            SLOW if may_be_stale => stale(),
            _ => Lookup::Pass(reason),
        };
        if let Some(reason) = self.shared.uncached.get(key) {
            return pass(reason);
        }
        let joined_at = Instant::now();
        let policy = self.shared.options.stale;
        let Joined { fetch, collapsed } = match self.join(key, Some(cached)) {
            Ok(joined) => joined,
            // Treated like an origin that does not respond in time.
            Err(BUSY) if may_be_stale && policy == StalePolicy::AnyFailure => return stale(),
            Err(reason) => return Lookup::Pass(reason),
        };
        let state = if may_be_stale && policy == StalePolicy::AnyFailure {
            // The fetch continues. A client with a short timeout would otherwise go to the same
            // origin.
            match tokio::time::timeout(REVALIDATION_TIMEOUT, fetch.state()).await {
                Ok(state) => state,
                Err(_) => return stale(),
            }
        } else {
            fetch.state().await
        };
        if collapsed && self.is_outdated(key, &state, joined_at) {
            return Lookup::Pass(OUTDATED);
        }
        if let FetchState::NotCached(reason) = state {
            return pass(reason);
        }
        lookup(state, CacheStatus::Replaced { collapsed }).unwrap_or_else(|error| {
            // A refusal is not a failure (RFC 5861 section 4), because the object may have been
            // withdrawn or deleted.
            let is_refused = error.kind() == ErrorKind::PermissionDenied;
            let is_failure = match policy {
                StalePolicy::AnyFailure => !is_refused,
                StalePolicy::RetryableErrors => error.is_retryable(),
            };
            if may_be_stale && is_failure {
                return stale();
            }
            Lookup::Failed { error: duplicate(&error), had_stale: !is_refused }
        })
    }
}

/// A fetch, or the reason why none may begin.
type JoinResult = std::result::Result<Joined, &'static str>;

/// Converts the state of a fetch. `fetched` is the status of an object that origin sent.
fn lookup(state: FetchState, fetched: CacheStatus) -> std::result::Result<Lookup, Arc<Error>> {
    match state {
        FetchState::Filling(progress) => Ok(Lookup::Version(Version::Arriving(progress), fetched)),
        FetchState::Cached(cached, Arrival::NotModified) => {
            Ok(Lookup::Version(Version::Cached(cached), CacheStatus::Revalidated))
        }
        FetchState::Cached(cached, Arrival::Fetched) => {
            Ok(Lookup::Version(Version::Cached(cached), fetched))
        }
        FetchState::NotCached(reason) => Ok(Lookup::Pass(reason)),
        FetchState::Missing => Ok(Lookup::Missing { was_forwarded: true }),
        FetchState::Failed(error) => Err(error),
    }
}

/// Returns a copy of an error that several requests get.
fn duplicate(error: &Arc<Error>) -> Error {
    let mut copy =
        Error::new(error.kind(), error.message().to_owned()).with_retryable(error.is_retryable());
    if error.source().is_some() {
        copy = copy.with_source(SharedSource(Arc::clone(error)));
    }
    match error.retry_after() {
        Some(wait) => copy.with_retry_after(wait),
        None => copy,
    }
}

/// The source of an error that several requests get.
struct SharedSource(Arc<Error>);

impl fmt::Display for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source().map_or(Ok(()), |source| fmt::Display::fmt(source, f))
    }
}

impl fmt::Debug for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for SharedSource {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use storage_core::Memory;

    use super::super::fetches::{Fetch, MAX_FETCHES};
    use super::super::freshness::FreshnessPolicy;
    use super::super::shared::Clock;
    use super::*;
    use crate::store::{DEFAULT_INDEX_MEMORY, Limits, OPEN_FILES};

    #[test]
    fn a_shared_error_keeps_its_sources() {
        let refused = Error::unexpected("inner", io::Error::other("refused"));
        let error = Arc::new(Error::new(ErrorKind::Timeout, "outer").with_source(refused));
        let copy = duplicate(&error);
        let source = copy.source().unwrap();
        assert_eq!(source.to_string(), "Unexpected: inner");
        assert_eq!(source.source().unwrap().to_string(), "refused");
        assert!(source.source().unwrap().source().is_none());
        let alone = Arc::new(Error::new(ErrorKind::Timeout, "alone"));
        assert!(duplicate(&alone).source().is_none());
    }

    #[tokio::test]
    async fn a_revalidation_without_room_goes_to_origin() {
        let (directory, origin) = (tempfile::tempdir().unwrap(), Memory::storage());
        origin.save("a", "one").await.unwrap();
        let limits = Limits {
            max_size: 1 << 20,
            max_object_size: None,
            memory: 0,
            index_memory: DEFAULT_INDEX_MEMORY,
            open_files: OPEN_FILES,
        };
        let freshness = FreshnessPolicy {
            ttl: Duration::ZERO,
            rules: Vec::new(),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            is_upper_bound: true,
        };
        let options = EngineOptions {
            limits,
            negative_ttl: Duration::ZERO,
            freshness,
            stale: StalePolicy::RetryableErrors,
            requires_strong_etag: true,
            logs_failures: false,
            passes_if_slow: true,
            clock: Clock::new(std::time::SystemTime::now),
        };
        let engine = Engine::open(directory.path(), origin, options).unwrap();
        let key = Key::new("a").unwrap();
        while engine.in_flight() > 0 || engine.usage().objects == 0 {
            let _ = engine.find(&key).await;
            tokio::task::yield_now().await;
        }
        let mut senders = Vec::new();
        for number in 0..MAX_FETCHES {
            let (sender, fetch) = Fetch::new();
            senders.push(sender);
            let other = Key::new(format!("other/{number}")).unwrap();
            engine.shared.fetches.join(&other, || fetch).unwrap();
        }
        assert!(matches!(engine.find(&key).await, Lookup::Pass("busy")));
        assert_eq!(engine.in_flight(), MAX_FETCHES);
    }
}
