//! [`ResponseMeta`]: what an HTTP response states about itself, for caches.

use std::time::{Duration, SystemTime};

/// What the HTTP response that carried an object states about its own freshness.
///
/// It describes one response, not the object: a driver sets it in the
/// [`ObjectMeta`](crate::ObjectMeta) that `open` and `stat` return, and no storage keeps it. A
/// cache needs it, because an origin may be a cache itself, whose responses have used up a part of
/// their lifetime (RFC 9111, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseMeta {
    /// The age of the response when the driver returned it: the response's `Age`, plus the time
    /// since the request was sent (`corrected_age_value`, RFC 9111, section 4.2.3).
    ///
    /// A cache adds the time for which it has kept the response. The clock of the server does not
    /// count.
    pub age: Duration,
    /// The `Date` of the response by the clock of the server, or the time of receipt if the
    /// response has none (RFC 9110, section 6.6.1).
    ///
    /// The freshness lifetime of a response with `Expires` is `Expires` minus this (RFC 9111,
    /// section 4.2.1).
    pub date: SystemTime,
    /// Whether the response has `Vary: *`. A cache must not reuse such a response without
    /// validation (RFC 9111, section 4.1).
    pub varies_always: bool,
}

impl ResponseMeta {
    /// Creates the metadata of a response without `Vary: *`. Set `varies_always` directly.
    #[must_use]
    pub const fn new(age: Duration, date: SystemTime) -> Self {
        Self { age, date, varies_always: false }
    }
}
