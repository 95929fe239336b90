//! [`DaySummary`]: the sums and the top keys of a day, so that a page about a year reads a few KiB
//! for each day and not the counts of every key.

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Row};
use super::day::Day;
use super::top::{Best, TopKey};

/// The sums of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DayTotal {
    /// The number of keys with counts of their own.
    pub(crate) keys: u64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// The sums and the top keys of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DaySummary {
    pub(crate) day: Day,
    #[serde(flatten)]
    pub(crate) total: DayTotal,
    /// The keys with the most downloads, in descending order.
    pub(crate) top: Vec<TopKey>,
}

/// Sums up the saved rows of a day, one at a time.
pub(super) struct SummaryBuilder {
    day: Day,
    total: DayTotal,
    best: Best,
}

impl SummaryBuilder {
    pub(super) fn new(day: Day) -> Self {
        Self { day, total: DayTotal::default(), best: Best::default() }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.total.counts.add(&row.counts);
        if let Some(key) = row.key {
            self.total.keys += 1;
            self.best.add(key, row.counts);
        }
    }

    pub(super) fn build(self) -> DaySummary {
        DaySummary { day: self.day, total: self.total, top: self.best.sorted() }
    }
}
