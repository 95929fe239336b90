//! [`Record`]: the recorded fields of one request. [`Outcome`]: how it was served.
//!
//! A record does not contain the request's query, because a signed link's signature is a secret.

use http::StatusCode;
use storage_core::Key;

use crate::engine::CacheStatus;

/// The length of a probe: players request the first two bytes to detect support for ranges. A probe
/// does not count as a download.
const PROBE_BYTES: u64 = 2;
pub(super) const OK: u16 = StatusCode::OK.as_u16();
pub(super) const PARTIAL_CONTENT: u16 = StatusCode::PARTIAL_CONTENT.as_u16();

/// How a request for an object was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Stale,
    Revalidated,
    Miss,
    Collapsed,
    Passed,
    Missing,
    Failed,
}

impl Outcome {
    pub(crate) const ALL: [Self; 8] = [
        Self::Hit,
        Self::Stale,
        Self::Revalidated,
        Self::Miss,
        Self::Collapsed,
        Self::Passed,
        Self::Missing,
        Self::Failed,
    ];

    /// Returns the name for logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Passed => "passed",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }

    /// Whether the bytes came from the cache.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Revalidated)
    }
}

impl From<CacheStatus> for Outcome {
    fn from(status: CacheStatus) -> Self {
        match status {
            CacheStatus::Hit { .. } => Self::Hit,
            CacheStatus::StaleWhileRevalidate | CacheStatus::StaleIfError => Self::Stale,
            CacheStatus::Revalidated => Self::Revalidated,
            CacheStatus::Replaced { collapsed: true } | CacheStatus::Miss { collapsed: true } => {
                Self::Collapsed
            }
            CacheStatus::Replaced { .. } | CacheStatus::Miss { .. } => Self::Miss,
        }
    }
}

/// One request and its response.
#[derive(Debug)]
pub(crate) struct Record {
    /// The object that was requested, and how it was served. `None` for other routes.
    pub(crate) object: Option<(Key, Outcome)>,
    /// A hash of address and user agent, salted for the lifetime of the process. Neither can be
    /// derived from it.
    pub(crate) client: u64,
    pub(crate) status: u16,
    /// The number of bytes of the body that were passed to the connection.
    pub(crate) bytes: u64,
    /// Whether all bytes of the body were passed to the connection.
    pub(crate) is_complete: bool,
    /// Whether the body began with the object's first byte.
    pub(crate) is_from_start: bool,
    pub(crate) is_get: bool,
}

impl Record {
    /// Returns the key and the outcome if an object was sent, all of it or a part.
    pub(crate) fn sent(&self) -> Option<(&Key, Outcome)> {
        let is_sent = matches!(self.status, OK | PARTIAL_CONTENT);
        self.object
            .as_ref()
            .filter(|_| self.is_get && is_sent)
            .map(|(key, outcome)| (key, *outcome))
    }

    /// Whether enough was sent to count as a download.
    pub(crate) fn is_more_than_a_probe(&self) -> bool {
        self.bytes > PROBE_BYTES || (self.status == OK && self.is_complete)
    }
}

#[cfg(test)]
impl Record {
    /// Creates the record of a GET of `a` that was a hit.
    pub(crate) fn for_tests(status: u16, bytes: u64) -> Self {
        Self {
            object: Some((Key::new("a").unwrap(), Outcome::Hit)),
            client: 0,
            status,
            bytes,
            is_complete: true,
            is_from_start: status == OK,
            is_get: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcomes_are_listed_in_the_order_of_their_numbers() {
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number, "{}", outcome.name());
        }
    }
}
