//! [`RequestCounters`], and the list of all metrics for `/metrics` and `/status`.

use crate::engine::{CacheStatus, Counter, Engine};

/// Counts requests by how they were served, since the start.
#[derive(Debug, Default)]
pub(super) struct RequestCounters {
    pub(super) hits: Counter,
    pub(super) stale_hits: Counter,
    pub(super) revalidated: Counter,
    pub(super) misses: Counter,
    pub(super) collapsed: Counter,
    pub(super) passed: Counter,
    pub(super) missing: Counter,
    pub(super) failed: Counter,
    /// Bytes of bodies sent, from the cache and from origin as they arrived.
    pub(super) hit_bytes: Counter,
    pub(super) miss_bytes: Counter,
    /// Connections that were closed because their client had too many.
    pub(super) refused_connections: Counter,
}

impl RequestCounters {
    /// Counts a response with a version of an object.
    pub(super) fn count(&self, status: CacheStatus, bytes: u64) {
        let (requests, sent) = match status {
            CacheStatus::Hit { .. } => (&self.hits, &self.hit_bytes),
            CacheStatus::StaleWhileRevalidate | CacheStatus::StaleIfError => {
                (&self.stale_hits, &self.hit_bytes)
            }
            CacheStatus::Revalidated => (&self.revalidated, &self.hit_bytes),
            CacheStatus::Replaced { collapsed: true } | CacheStatus::Miss { collapsed: true } => {
                (&self.collapsed, &self.miss_bytes)
            }
            CacheStatus::Replaced { .. } | CacheStatus::Miss { .. } => {
                (&self.misses, &self.miss_bytes)
            }
        };
        requests.add(1);
        sent.add(bytes);
    }

    /// Returns the share of requests for objects that were served from the cache, from 0 to 1.
    pub(super) fn hit_rate(&self) -> f64 {
        let hits = self.hits.get() + self.stale_hits.get() + self.revalidated.get();
        let all = hits + self.misses.get() + self.collapsed.get() + self.passed.get();
        if all == 0 { 0.0 } else { hits as f64 / all as f64 }
    }
}

/// A metric and its current value.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    /// The Prometheus type: `counter` or `gauge`.
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) value: u64,
}

/// Returns all metrics, in the order in which they are shown.
pub(super) fn metrics(engine: &Engine, requests: &RequestCounters) -> Vec<Metric> {
    let (counters, usage) = (engine.counters(), engine.usage());
    let total = |name, help, value| Metric { name, kind: "counter", help, value };
    let counter = |name, help, counter: &Counter| total(name, help, counter.get());
    let gauge = |name, help, value| Metric { name, kind: "gauge", help, value };
    vec![
        counter("hits_total", "Requests served from the cache.", &requests.hits),
        counter(
            "stale_hits_total",
            "Requests served from the cache with a stale object.",
            &requests.stale_hits,
        ),
        counter(
            "revalidated_total",
            "Requests served from the cache after origin confirmed the object.",
            &requests.revalidated,
        ),
        counter("misses_total", "Requests that fetched an object from origin.", &requests.misses),
        counter(
            "collapsed_total",
            "Requests that waited for the fetch of another request.",
            &requests.collapsed,
        ),
        counter(
            "passed_total",
            "Requests passed to origin without caching the object.",
            &requests.passed,
        ),
        counter("missing_total", "Requests for missing objects.", &requests.missing),
        counter("failed_total", "Requests that failed because origin failed.", &requests.failed),
        counter("hit_bytes_total", "Bytes of bodies served from the cache.", &requests.hit_bytes),
        counter(
            "miss_bytes_total",
            "Bytes of bodies served as they arrived from origin.",
            &requests.miss_bytes,
        ),
        counter("origin_requests_total", "Fetches from origin.", &counters.origin_requests),
        counter("origin_failures_total", "Fetches that failed.", &counters.origin_failures),
        counter("origin_bytes_total", "Bytes fetched from origin.", &counters.origin_bytes),
        counter(
            "broken_fills_total",
            "Fetches that ended before the object was complete.",
            &counters.broken_fills,
        ),
        counter("rescued_total", "Bodies whose rest was read from origin.", &counters.rescued),
        counter("purges_total", "Purges.", &counters.purges),
        counter(
            "refused_connections_total",
            "Connections closed because their client had too many.",
            &requests.refused_connections,
        ),
        gauge("in_flight", "Running fetches.", engine.in_flight() as u64),
        gauge("objects", "Objects in the cache.", usage.objects),
        gauge("bytes", "Bytes on the disk.", usage.bytes),
        gauge("reserved_bytes", "Bytes reserved for fetches.", usage.reserved),
        gauge(
            "memory_bytes",
            "Bytes of objects and metadata in memory.",
            usage.memory + usage.metadata,
        ),
        gauge("index_bytes", "Bytes of memory of the index, an estimate.", usage.index),
        gauge("open_files", "Files kept open.", usage.open_files),
        total("evicted_total", "Objects evicted to make room.", usage.evicted_objects),
        total("evicted_bytes_total", "Bytes of evicted objects.", usage.evicted_bytes),
        total("corrupt_total", "Objects found to be corrupt.", usage.corrupt),
    ]
}
