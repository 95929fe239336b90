//! [`Counts`]: what is counted. [`Row`]: the saved counts of one key on one day.

use serde::{Deserialize, Serialize};
use storage_core::Key;

use super::day::Day;

/// The counts of a key on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) downloads: u64,
    /// Those of `downloads` that are requests from the first byte, because there were too many
    /// clients to keep.
    pub(crate) downloads_by_request: u64,
    pub(crate) requests: u64,
    pub(crate) hit_requests: u64,
    pub(crate) bytes_hit: u64,
    pub(crate) bytes_miss: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.downloads += other.downloads;
        self.downloads_by_request += other.downloads_by_request;
        self.requests += other.requests;
        self.hit_requests += other.hit_requests;
        self.bytes_hit += other.bytes_hit;
        self.bytes_miss += other.bytes_miss;
    }

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// The saved counts of a key on a day. The row without a key is the sum of all keys beyond the
/// bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) day: Day,
    pub(crate) key: Option<Key>,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}
