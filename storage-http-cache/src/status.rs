//! [`Status`]: counts of requests and bytes, which are also reported as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{SharedString, Unit};
use url::Url;

use crate::breaker::MirrorState;

const REQUESTS: &str = "storage_mirror_requests_total";
const BYTES: &str = "storage_mirror_bytes_total";
const RESUMED: &str = "storage_mirror_resumed_total";
const STATE: &str = "storage_mirror_state";
const UNCONFIRMED: &str = "storage_mirror_unconfirmed_purges";

/// The state of a driver and of its mirrors, which [`HttpCache::status`](crate::HttpCache::status)
/// returns. All counts begin when the driver is built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The mirrors, in the order of the configuration.
    pub mirrors: Vec<MirrorStatus>,
    /// How many reads went to origin, for any reason.
    pub from_origin: u64,
    /// How many of these reads went to origin because no mirror was in use, or the request to each
    /// mirror failed.
    pub fallbacks: u64,
    /// How many bytes of bodies came from origin, including the rests of resumed bodies.
    pub bytes_from_origin: u64,
}

/// The state of one mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorStatus {
    /// Its base URL.
    pub url: Url,
    /// Whether it is used.
    pub state: MirrorState,
    /// How many requests have failed since the last success.
    pub consecutive_failures: u32,
    /// How many objects were requested. Verifications and purges do not count.
    pub requests: u64,
    /// How many of these requests returned the object, or "not modified".
    pub hits: u64,
    /// For how many of these requests the mirror did not have the object, or not in the requested
    /// form.
    pub misses: u64,
    /// How many of these requests failed: without a connection, without a response in time, or with
    /// an invalid response.
    pub failures: u64,
    /// How many of these requests returned another version than origin had, and were not used.
    pub stale: u64,
    /// How many bodies broke off, stalled or had a wrong checksum.
    pub broken_bodies: u64,
    /// How many of these bodies continued at origin.
    pub resumed_bodies: u64,
    /// How many bytes of bodies came from the mirror.
    pub bytes: u64,
    /// How many keys bypass the mirror because it has not confirmed a purge.
    pub unconfirmed_purges: usize,
}

/// Counts of reads from origin.
#[derive(Debug, Default)]
pub(crate) struct OriginCounts {
    pub(crate) reads: AtomicU64,
    pub(crate) fallbacks: AtomicU64,
    bytes: AtomicU64,
}

/// Counts of the requests to one mirror.
#[derive(Debug)]
pub(crate) struct MirrorCounts {
    /// Host and port, as the label of metrics.
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

/// The result of a request for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Miss,
    Failure,
    Stale,
}

/// Describes the metrics to the `metrics` recorder.
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
        "The state of a mirror: 0 healthy, 1 suspect, 2 open (not used)."
    );
    metrics::describe_gauge!(
        UNCONFIRMED,
        Unit::Count,
        "Keys that bypass a mirror until it confirms a purge."
    );
}

impl OriginCounts {
    /// Counts bytes from origin.
    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!(BYTES, "source" => "origin").increment(bytes);
    }

    pub(crate) fn status(&self, mirrors: Vec<MirrorStatus>) -> Status {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Status {
            mirrors,
            from_origin: load(&self.reads),
            fallbacks: load(&self.fallbacks),
            bytes_from_origin: load(&self.bytes),
        }
    }
}

impl MirrorCounts {
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

    /// Counts a request by its result.
    pub(crate) fn count_request(&self, outcome: Outcome) {
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

    /// Counts bytes from the mirror.
    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!(BYTES, "source" => "mirror").increment(bytes);
    }

    /// Counts a body that broke off or was wrong.
    pub(crate) fn count_broken_body(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a body that continues at origin.
    pub(crate) fn count_resumed_body(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(RESUMED, "mirror" => self.mirror.clone()).increment(1);
    }

    /// Sets the metric of the mirror's state.
    pub(crate) fn report_state(&self, state: MirrorState) {
        let level = match state {
            MirrorState::Healthy => 0.0,
            MirrorState::Suspect => 1.0,
            MirrorState::Open => 2.0,
        };
        metrics::gauge!(STATE, "mirror" => self.mirror.clone()).set(level);
    }

    /// Sets the metric of the keys that wait for a purge.
    pub(crate) fn report_unconfirmed_purges(&self, keys: usize) {
        metrics::gauge!(UNCONFIRMED, "mirror" => self.mirror.clone()).set(keys as f64);
    }

    pub(crate) fn status(
        &self,
        url: Url,
        state: MirrorState,
        consecutive_failures: u32,
        unconfirmed_purges: usize,
    ) -> MirrorStatus {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MirrorStatus {
            url,
            state,
            consecutive_failures,
            requests: load(&self.requests),
            hits: load(&self.hits),
            misses: load(&self.misses),
            failures: load(&self.failures),
            stale: load(&self.stale),
            broken_bodies: load(&self.broken),
            resumed_bodies: load(&self.resumed),
            bytes: load(&self.bytes),
            unconfirmed_purges,
        }
    }
}
