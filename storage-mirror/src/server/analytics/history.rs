//! [`History`]: the sums of all kept days, in memory.
//!
//! They are read from the summaries when the mirror starts. A day without a summary (of an earlier
//! version, or after a crash) is summed up later, one day at a time, because that reads the counts
//! of every key.

use std::collections::BTreeMap;

use storage_core::Result;

use super::day::Day;
use super::files::Files;
use super::summary::DayTotal;

/// The sums of the kept days, and the days that are not summed up yet.
#[derive(Debug, Default)]
pub(super) struct History {
    totals: BTreeMap<Day, DayTotal>,
    /// In ascending order. The latest is summed up first.
    unread: Vec<Day>,
}

impl History {
    /// Reads the summaries.
    ///
    /// # Errors
    /// Fails with the error of the file system if the directory cannot be listed.
    pub(super) fn read(files: &Files) -> Result<Self> {
        let mut history = Self::default();
        for day in files.days()? {
            match files.summary(day) {
                Some(summary) => history.set(day, summary.total),
                None => history.unread.push(day),
            }
        }
        Ok(history)
    }

    /// Sets the sums of a day.
    pub(super) fn set(&mut self, day: Day, total: DayTotal) {
        self.unread.retain(|unread| *unread != day);
        self.totals.insert(day, total);
    }

    /// Removes days whose files were removed.
    pub(super) fn remove(&mut self, days: &[Day]) {
        for day in days {
            self.unread.retain(|unread| unread != day);
            self.totals.remove(day);
        }
    }

    /// Returns the latest day that is not summed up, and forgets it.
    pub(super) fn take_unread(&mut self) -> Option<Day> {
        self.unread.pop()
    }

    /// Returns how many days are not summed up yet.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    pub(super) fn totals(&self) -> BTreeMap<Day, DayTotal> {
        self.totals.clone()
    }
}
