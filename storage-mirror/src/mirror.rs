//! [`Mirror`]: what is kept, what is on its way, and what to do about a request for an object.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use storage_core::{Error, ErrorKind, Key, Result, Storage};

use super::config::MirrorConfig;
use super::counters::{Counter, Counters};
use super::flight::{Arrival, Flight, Landing};
use super::freshness::{Defaults, Freshness, State};
use super::off_thread::off_thread;
use super::store::{Entry, EntryMeta, Limits, OPEN_FILES, Store};
use super::version::{Kept, Version};
use storage_core::internal::TtlCache;

/// How many keys without an object, or with one that is not kept, are remembered.
const REMEMBERED: usize = 100_000;
/// How long it is remembered that an object is not kept.
const NOT_KEPT_FOR: Duration = Duration::from_secs(60);
/// How long a request waits for origin's word on what could be served without it.
const PATIENCE_WITH_STALE: Duration = Duration::from_millis(800);
/// How many fetches may be under way. Each has a task, a connection and a file.
const MAX_FLIGHTS: usize = 512;

/// A cache of an origin's objects.
pub(crate) struct Mirror {
    pub(crate) store: Store,
    pub(crate) origin: Storage,
    pub(crate) counters: Counters,
    pub(crate) missing: TtlCache<()>,
    pub(crate) passing: TtlCache<&'static str>,
    freshness: Defaults,
    flights: Mutex<HashMap<Key, Flight>>,
}

/// What to answer with.
#[derive(Debug)]
pub(crate) enum Found {
    /// A version of the object.
    Version(Version, Handling),
    /// The object is to be had from origin, and is not kept.
    Pass(&'static str),
    /// There is none. Whether origin was asked for this.
    Missing { asked: bool },
    /// Origin failed. Whether there is a version that must not be served without its consent.
    Failed { error: Error, had_stale: bool },
}

/// How a version was found: what `Cache-Status` tells (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handling {
    /// It was here, and fresh for so long still.
    Hit { ttl: Duration },
    /// It was here, and is served although its time is over, while origin is asked.
    StaleWhileRevalidate,
    /// The same, since origin failed.
    StaleIfError,
    /// Its time was over, and origin says that it is current.
    Revalidated,
    /// Its time was over, and origin had another.
    Replaced { collapsed: bool },
    /// It was not here.
    Miss { collapsed: bool },
}

impl Mirror {
    /// Opens the cache's directory. Waits for the disk.
    ///
    /// # Errors
    /// `InvalidConfig`; what the operating system says about the directory.
    pub(crate) fn open(config: &MirrorConfig, origin: Storage) -> Result<Arc<Self>> {
        let limits = Limits {
            max_size: config.max_size,
            max_object_size: Some(config.max_object_size()),
            memory: config.memory,
            index_memory: config.index_memory,
            open_files: OPEN_FILES,
        };
        let (store, recovered) = Store::open(&config.cache_dir, limits)?;
        let (objects, bytes) = (recovered.objects, recovered.bytes);
        tracing::info!(
            objects,
            bytes,
            dropped = recovered.dropped,
            partial = recovered.partial,
            "the cache is open"
        );
        Ok(Arc::new(Self {
            store,
            origin,
            counters: Counters::default(),
            missing: TtlCache::new(config.negative_ttl, REMEMBERED),
            passing: TtlCache::new(NOT_KEPT_FOR, REMEMBERED),
            freshness: config.freshness()?,
            flights: Mutex::default(),
        }))
    }

    /// What there is to answer a request with. Waits for origin only if it must.
    pub(crate) async fn find(self: &Arc<Self>, key: &Key) -> Found {
        let Some(kept) = self.look_up(self.store.get(key.as_str())).await else {
            return self.miss(key).await;
        };
        let (freshness, age) = self.judge(key, &kept.meta);
        match freshness.state(age) {
            State::Fresh => {
                let ttl = freshness.lifetime.saturating_sub(age);
                Found::Version(Version::Kept(kept), Handling::Hit { ttl })
            }
            State::StaleWhileRevalidate => {
                self.join(key, Some(&kept));
                Found::Version(Version::Kept(kept), Handling::StaleWhileRevalidate)
            }
            State::Stale => self.revalidate(key, &kept, freshness.serves_errors(age)).await,
        }
    }

    /// Whether an object is here, so that a request for it will not wait; if not, it is fetched.
    pub(crate) async fn is_ready(self: &Arc<Self>, key: &Key) -> bool {
        match self.look_up(self.store.peek(key.as_str())).await {
            Some(kept) => {
                let (freshness, age) = self.judge(key, &kept.meta);
                if freshness.state(age) != State::Fresh {
                    self.join(key, Some(&kept));
                }
                freshness.serves_errors(age) || freshness.state(age) != State::Stale
            }
            None => {
                let is_known = self.missing.contains(key) || self.passing.contains(key);
                if !is_known && !self.is_busy_without(key) {
                    self.join(key, None);
                }
                false
            }
        }
    }

    /// Whether an object is on its way from origin.
    pub(crate) fn is_fetching(&self, key: &Key) -> bool {
        self.flights().get(key).is_some_and(|flight| !flight.is_abandoned())
    }

    /// An entry with its metadata; `None` if there is none, or if it cannot be read and is as good
    /// as none.
    async fn look_up(&self, entry: Option<Arc<Entry>>) -> Option<Kept> {
        let entry = entry?;
        let meta = match self.store.try_meta(&entry) {
            Some(meta) => Ok(meta),
            None => {
                let (store, entry) = (self.store.clone(), Arc::clone(&entry));
                off_thread(move || store.meta(&entry)).await
            }
        };
        let meta =
            meta.inspect_err(|error| tracing::debug!(%error, "metadata cannot be read")).ok()?;
        Some(Kept { entry, meta })
    }

    /// Forgets an object. Fills under way go to those who wait for them and are not kept.
    pub(crate) async fn purge(&self, key: &Key) -> Result<bool> {
        self.counters.purges.add(1);
        // Who asks from now on is to be served by a request that begins after the purge. First of
        // all, so that no request under way has a say any more.
        self.flights().remove(key);
        self.missing.remove(key);
        self.passing.remove(key);
        let (store, key) = (self.store.clone(), key.clone());
        off_thread(move || store.purge(key.as_str())).await
    }

    /// Forgets all objects whose keys begin so, as far as they are kept. How many there were.
    pub(crate) async fn purge_prefix(&self, prefix: &str) -> Result<usize> {
        self.counters.purges.add(1);
        self.flights().retain(|key, _| !key.as_str().starts_with(prefix));
        self.missing.clear();
        self.passing.clear();
        let (store, prefix) = (self.store.clone(), prefix.to_owned());
        off_thread(move || store.purge_prefix(&prefix)).await
    }

    /// How many requests to origin are under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights().len()
    }

    /// A flight has ended. Another for the same key, begun after a purge, goes on.
    pub(crate) fn landed(&self, key: &Key, number: u64) {
        let mut flights = self.flights();
        if is_on(&flights, key, number) {
            flights.remove(key);
        }
    }

    /// A flight has found that there is no object; nobody has purged the key since it began.
    pub(crate) fn learn_missing(&self, key: &Key, number: u64) {
        let flights = self.flights();
        if is_on(&flights, key, number) {
            self.missing.insert(key, ());
        }
    }

    /// The same of an object that is not kept.
    pub(crate) fn learn_passing(&self, key: &Key, number: u64, why: &'static str) {
        let flights = self.flights();
        if is_on(&flights, key, number) {
            self.passing.insert(key, why);
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How fresh an entry may be, and how old it is.
    fn judge(&self, key: &Key, meta: &EntryMeta) -> (Freshness, Duration) {
        let freshness = self.freshness.of(key, &meta.object.metadata, meta.response_date());
        (freshness, meta.age_at(SystemTime::now()))
    }

    /// Whether there are so many flights that none for this key can be added.
    fn is_busy_without(&self, key: &Key) -> bool {
        let flights = self.flights();
        flights.len() >= MAX_FLIGHTS && !flights.contains_key(key)
    }

    /// The flight for a key, and whether it was under way already.
    fn join(self: &Arc<Self>, key: &Key, known: Option<&Kept>) -> (Flight, bool) {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key).filter(|flight| !flight.is_abandoned()) {
            return (flight.clone(), true);
        }
        let flight = Flight::begin(self, key, known.cloned());
        flights.insert(key.clone(), flight.clone());
        (flight, false)
    }

    async fn miss(self: &Arc<Self>, key: &Key) -> Found {
        if self.missing.contains(key) {
            return Found::Missing { asked: false };
        }
        if let Some(why) = self.passing.get(key) {
            return Found::Pass(why);
        }
        if self.is_busy_without(key) {
            return Found::Pass("busy");
        }
        let (flight, collapsed) = self.join(key, None);
        found(flight.landing().await, Handling::Miss { collapsed })
            .unwrap_or_else(|error| Found::Failed { error: again(&error), had_stale: false })
    }

    /// `may_be_stale` if the version that is here may be served when origin fails.
    async fn revalidate(self: &Arc<Self>, key: &Key, kept: &Kept, may_be_stale: bool) -> Found {
        let stale = || Found::Version(Version::Kept(kept.clone()), Handling::StaleIfError);
        let (flight, collapsed) = self.join(key, Some(kept));
        let landing = if may_be_stale {
            // It goes on behind. Whoever reads from us gives up soon, and would find no origin
            // either.
            match tokio::time::timeout(PATIENCE_WITH_STALE, flight.landing()).await {
                Ok(landing) => landing,
                Err(_) => return stale(),
            }
        } else {
            flight.landing().await
        };
        found(landing, Handling::Replaced { collapsed }).unwrap_or_else(|error| {
            // That origin refuses an object is no failure (RFC 5861, section 4): it may have been
            // withdrawn, or deleted.
            let is_refused = error.kind() == ErrorKind::PermissionDenied;
            if may_be_stale && !is_refused {
                return stale();
            }
            Found::Failed { error: again(&error), had_stale: !is_refused }
        })
    }

    /// Whether an object is here, or on its way.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.store.peek(key.as_str()).is_some() || self.flights().contains_key(key)
    }

    /// Counts an answer.
    pub(crate) fn count(&self, handling: Handling, bytes: u64) {
        let counters = &self.counters;
        let (requests, sent) = match handling {
            Handling::Hit { .. } => (&counters.hits, &counters.hit_bytes),
            Handling::StaleWhileRevalidate | Handling::StaleIfError => {
                (&counters.stale_hits, &counters.hit_bytes)
            }
            Handling::Revalidated => (&counters.revalidated, &counters.hit_bytes),
            Handling::Replaced { collapsed: true } | Handling::Miss { collapsed: true } => {
                (&counters.collapsed, &counters.miss_bytes)
            }
            Handling::Replaced { .. } | Handling::Miss { .. } => {
                (&counters.misses, &counters.miss_bytes)
            }
        };
        requests.add(1);
        sent.add(bytes);
    }

    /// The share of requests for objects that origin was not asked to send anything for, from 0
    /// to 1.
    pub(crate) fn hit_rate(&self) -> f64 {
        let counters = &self.counters;
        let hits = counters.hits.get() + counters.stale_hits.get() + counters.revalidated.get();
        let all = hits + counters.misses.get() + counters.collapsed.get() + counters.passed.get();
        if all == 0 { 0.0 } else { hits as f64 / all as f64 }
    }

    /// Name, type, meaning and value of all that is counted.
    pub(crate) fn figures(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let (counters, usage) = (&self.counters, self.store.usage());
        let counter = |name, help, counter: &Counter| (name, "counter", help, counter.get());
        let gauge = |name, help, value| (name, "gauge", help, value);
        vec![
            counter("hits_total", "Requests answered from the cache.", &counters.hits),
            counter(
                "stale_hits_total",
                "Requests answered from the cache after its time.",
                &counters.stale_hits,
            ),
            counter(
                "revalidated_total",
                "Requests answered from the cache after origin confirmed it.",
                &counters.revalidated,
            ),
            counter(
                "misses_total",
                "Requests that fetched an object from origin.",
                &counters.misses,
            ),
            counter(
                "collapsed_total",
                "Requests that waited for a fetch of another.",
                &counters.collapsed,
            ),
            counter(
                "passed_total",
                "Requests passed to origin without keeping the object.",
                &counters.passed,
            ),
            counter("missing_total", "Requests for what is not there.", &counters.missing),
            counter("failed_total", "Requests that failed with origin.", &counters.failed),
            counter(
                "hit_bytes_total",
                "Bytes of bodies answered from the cache.",
                &counters.hit_bytes,
            ),
            counter(
                "miss_bytes_total",
                "Bytes of bodies answered as they arrived.",
                &counters.miss_bytes,
            ),
            counter("origin_requests_total", "Fetches from origin.", &counters.origin_requests),
            counter("origin_failures_total", "Fetches that failed.", &counters.origin_failures),
            counter("origin_bytes_total", "Bytes fetched from origin.", &counters.origin_bytes),
            counter("broken_fills_total", "Fetches that broke off.", &counters.broken_fills),
            counter("rescued_total", "Bodies that went on at origin.", &counters.rescued),
            counter("purges_total", "Purges.", &counters.purges),
            counter(
                "refused_connections_total",
                "Connections of clients that had too many.",
                &counters.refused_connections,
            ),
            gauge("in_flight", "Fetches under way.", self.in_flight() as u64),
            gauge("objects", "Objects kept.", usage.objects),
            gauge("bytes", "Bytes on the disk.", usage.bytes),
            gauge("reserved_bytes", "Bytes promised to fetches.", usage.reserved),
            gauge(
                "memory_bytes",
                "Bytes of objects and metadata in memory.",
                usage.memory + usage.metadata,
            ),
            gauge("index_bytes", "Bytes of memory of the index, an estimate.", usage.index),
            gauge("open_files", "Files kept open.", usage.open_files),
            ("evicted_total", "counter", "Objects that made room.", usage.evicted_objects),
            (
                "evicted_bytes_total",
                "counter",
                "Bytes of objects that made room.",
                usage.evicted_bytes,
            ),
            ("corrupt_total", "counter", "Objects found broken.", usage.corrupt),
        ]
    }
}

/// What a flight has brought; `fetched` is how what came from origin is to be called.
fn found(landing: Landing, fetched: Handling) -> std::result::Result<Found, Arc<Error>> {
    match landing {
        Landing::Filling(progress) => Ok(Found::Version(Version::Arriving(progress), fetched)),
        Landing::Kept(kept, Arrival::NotModified) => {
            Ok(Found::Version(Version::Kept(kept), Handling::Revalidated))
        }
        Landing::Kept(kept, Arrival::Fetched) => Ok(Found::Version(Version::Kept(kept), fetched)),
        Landing::NotKept(why) => Ok(Found::Pass(why)),
        Landing::Missing => Ok(Found::Missing { asked: true }),
        Landing::Failed(error) => Err(error),
    }
}

/// Whether it is this flight that is under way for a key.
fn is_on(flights: &HashMap<Key, Flight>, key: &Key, number: u64) -> bool {
    flights.get(key).is_some_and(|flight| flight.number() == number)
}

/// An error for one of many who wait for the same.
fn again(error: &Error) -> Error {
    let told =
        Error::new(error.kind(), error.message().to_owned()).with_retryable(error.is_retryable());
    match error.retry_after() {
        Some(wait) => told.with_retry_after(wait),
        None => told,
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("origin", &self.origin).finish_non_exhaustive()
    }
}
