//! [`Status`]: what has become of the requests so far, through a method, as metrics and as events.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{SharedString, Unit};
use url::Url;

use crate::breaker::MirrorState;

const REQUESTS: &str = "storage_mirror_requests_total";
const BYTES: &str = "storage_mirror_bytes_total";
const RESUMED: &str = "storage_mirror_resumed_total";
const STATE: &str = "storage_mirror_state";
const UNCONFIRMED: &str = "storage_mirror_unconfirmed_purges";

/// How a cache tier is doing: what [`HttpCache::status`](crate::HttpCache::status) answers. All
/// counts are since the driver was built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The mirrors, in the order of the configuration.
    pub mirrors: Vec<MirrorStatus>,
    /// Reads that origin answered, whatever the reason.
    pub from_origin: u64,
    /// Of those, the ones for which no mirror could be asked, or each that was asked was in
    /// trouble.
    pub fallbacks: u64,
    /// Bytes of bodies that came from origin, the rests of resumed ones among them.
    pub bytes_from_origin: u64,
}

/// How one mirror is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorStatus {
    /// Its address.
    pub url: Url,
    /// What is thought of it.
    pub state: MirrorState,
    /// Requests in a row that met trouble, up to now.
    pub consecutive_failures: u32,
    /// Requests for objects. Verifications and purges are not counted.
    pub requests: u64,
    /// Of those, the ones it answered with the object, or with the word that it has not changed.
    pub hits: u64,
    /// Of those, the ones that it left to origin: it does not have the object, or not all of what
    /// was asked for.
    pub misses: u64,
    /// Of those, the ones that met trouble: no connection, no answer in time, a bad one.
    pub failures: u64,
    /// Of the hits, the ones that were not used, since the mirror had another version than origin.
    pub stale: u64,
    /// Bodies that broke off, stalled or were wrong. Where that was in the middle, origin went on.
    pub broken_bodies: u64,
    /// Of those, the ones that origin has completed or is completing.
    pub resumed_bodies: u64,
    /// Bytes of bodies that came from it: what origin did not have to send.
    pub bytes: u64,
    /// Keys that bypass it since it has not confirmed a purge.
    pub unconfirmed_purges: usize,
}

/// What is counted for all mirrors together.
#[derive(Debug, Default)]
pub(crate) struct OriginCounts {
    pub(crate) reads: AtomicU64,
    pub(crate) fallbacks: AtomicU64,
    bytes: AtomicU64,
}

/// What is counted for one mirror.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Its host, as a label.
    mirror: SharedString,
    requests: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
    stale: AtomicU64,
    broken: AtomicU64,
    resumed: AtomicU64,
    bytes: AtomicU64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Miss,
    Failure,
    Stale,
}

/// Tells the `metrics` recorder what the metrics mean.
pub(crate) fn describe() {
    metrics::describe_counter!(
        REQUESTS,
        Unit::Count,
        "Requests for objects to mirrors, by their result."
    );
    metrics::describe_counter!(
        BYTES,
        Unit::Bytes,
        "Bytes of bodies read through a cache tier, by their source."
    );
    metrics::describe_counter!(
        RESUMED,
        Unit::Count,
        "Bodies that a mirror broke off and origin completed."
    );
    metrics::describe_gauge!(
        STATE,
        "What is thought of a mirror: 0 healthy, 1 suspect, 2 open (left alone)."
    );
    metrics::describe_gauge!(
        UNCONFIRMED,
        Unit::Count,
        "Keys that bypass a mirror until it confirms a purge."
    );
}

impl OriginCounts {
    /// Bytes that came from origin.
    pub(crate) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!(BYTES, "source" => "origin").increment(bytes);
    }

    pub(crate) fn status(&self, mirrors: Vec<MirrorStatus>) -> Status {
        let told = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Status {
            mirrors,
            from_origin: told(&self.reads),
            fallbacks: told(&self.fallbacks),
            bytes_from_origin: told(&self.bytes),
        }
    }
}

impl Counts {
    pub(crate) fn new(base: &Url) -> Self {
        let host = base.host_str().unwrap_or_default();
        let place = base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let zero = AtomicU64::default;
        Self {
            mirror: SharedString::from_shared(place.into()),
            requests: zero(),
            hits: zero(),
            misses: zero(),
            failures: zero(),
            stale: zero(),
            broken: zero(),
            resumed: zero(),
            bytes: zero(),
        }
    }

    /// A request was answered, or not.
    pub(crate) fn request(&self, outcome: Outcome) {
        let (count, result) = match outcome {
            Outcome::Hit => (&self.hits, "hit"),
            Outcome::Miss => (&self.misses, "miss"),
            Outcome::Failure => (&self.failures, "failure"),
            Outcome::Stale => (&self.stale, "stale"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(REQUESTS, "mirror" => self.mirror.clone(), "result" => result)
            .increment(1);
    }

    /// Bytes that came from the mirror.
    pub(crate) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!(BYTES, "source" => "mirror").increment(bytes);
    }

    /// A body broke off.
    pub(crate) fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// Origin goes on where a body broke off.
    pub(crate) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(RESUMED, "mirror" => self.mirror.clone()).increment(1);
    }

    /// What is thought of the mirror.
    pub(crate) fn state(&self, state: MirrorState) {
        let level = match state {
            MirrorState::Healthy => 0.0,
            MirrorState::Suspect => 1.0,
            MirrorState::Open => 2.0,
        };
        metrics::gauge!(STATE, "mirror" => self.mirror.clone()).set(level);
    }

    /// How many keys wait for a purge.
    pub(crate) fn unconfirmed(&self, keys: usize) {
        metrics::gauge!(UNCONFIRMED, "mirror" => self.mirror.clone()).set(keys as f64);
    }

    pub(crate) fn status(
        &self,
        url: Url,
        state: MirrorState,
        consecutive_failures: u32,
        unconfirmed_purges: usize,
    ) -> MirrorStatus {
        let told = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MirrorStatus {
            url,
            state,
            consecutive_failures,
            requests: told(&self.requests),
            hits: told(&self.hits),
            misses: told(&self.misses),
            failures: told(&self.failures),
            stale: told(&self.stale),
            broken_bodies: told(&self.broken),
            resumed_bodies: told(&self.resumed),
            bytes: told(&self.bytes),
            unconfirmed_purges,
        }
    }
}
