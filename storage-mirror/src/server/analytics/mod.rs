//! [`Analytics`]: downloads and bytes for each key and day, kept across restarts.
//!
//! The current day is counted in memory ([`tally`]) and saved once a minute and at the end
//! ([`files`]), so a crash loses at most a minute. [`export`] reads the saved days. Addresses and
//! user agents are never saved.

mod day;
mod export;
mod files;
mod route;
mod tally;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use storage_core::{Key, Result};

use crate::server::record::Record;
use files::Files;
use tally::{Bounds, Tally};

pub use day::Day;
pub use export::{ExportFormat, export};
pub(crate) use route::respond;
pub(crate) use tally::Counts;

/// How often the current day is saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// The maximum number of past days that wait in memory while the disk cannot be written.
const MAX_UNSAVED_DAYS: usize = 7;

/// The counts of the current day, and the saved days.
#[derive(Debug)]
pub(crate) struct Analytics {
    files: Files,
    max_days: usize,
    bounds: Bounds,
    today: Mutex<Tally>,
    /// Past days that are not saved yet. The lock is held while days are saved.
    past: Mutex<VecDeque<Tally>>,
}

/// The summary of the current day.
#[derive(Debug)]
pub(crate) struct Today {
    pub(crate) day: Day,
    pub(crate) all: Counts,
    /// The keys with the most downloads, in descending order.
    pub(crate) top: Vec<(Key, Counts)>,
}

impl Analytics {
    /// Creates the directory and reads the saved counts of the current day. Blocks on the disk.
    ///
    /// # Errors
    /// Fails with the error of the file system.
    pub(crate) fn open(cache_dir: &Path, max_days: usize, now: SystemTime) -> Result<Self> {
        Self::bounded(cache_dir, max_days, Bounds::default(), now)
    }

    fn bounded(cache_dir: &Path, max_days: usize, bounds: Bounds, now: SystemTime) -> Result<Self> {
        let files = Files::below(cache_dir);
        files.create_directory()?;
        files.keep_latest(max_days)?;
        let today = Mutex::new(read(&files, Day::of(now), bounds)?);
        Ok(Self { files, max_days, bounds, today, past: Mutex::default() })
    }

    /// Counts a completed request in the current day.
    pub(crate) fn count(&self, record: &Record) {
        if record.sent().is_some() {
            self.today().count(record);
        }
    }

    /// Saves changes once a minute until the sender of `stop` is dropped, then saves a last time.
    pub(crate) fn keep_saving(&self, stop: &Receiver<()>) {
        loop {
            // Wakes up at midnight, to begin the new day.
            let wait = SAVE_EVERY.min(Day::left(SystemTime::now()));
            let is_over = stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            if let Err(error) = self.save(SystemTime::now()) {
                tracing::error!(%error, "cannot save the analytics; they are kept in memory");
            }
            if is_over {
                return;
            }
        }
    }

    /// Begins a new day if the date has changed, and saves all changes. Blocks on the disk.
    ///
    /// # Errors
    /// Fails with the error of the file system. Unsaved counts stay in memory for the next attempt.
    pub(crate) fn save(&self, now: SystemTime) -> Result<()> {
        let mut past = lock(&self.past);
        self.begin_day(&mut past, Day::of(now))?;
        while let Some(tally) = past.front_mut() {
            if tally.take_changed() {
                let written = self.files.write(tally.day(), |from| tally.page(from));
                written.inspect_err(|_| tally.set_changed())?;
                self.files.keep_latest(self.max_days)?;
            }
            past.pop_front();
        }
        let (day, has_changed) = {
            let mut today = self.today();
            (today.day(), today.take_changed())
        };
        if has_changed {
            let written = self.files.write(day, |from| self.today().page(from));
            written.inspect_err(|_| self.today().set_changed())?;
            self.files.keep_latest(self.max_days)?;
        }
        Ok(())
    }

    /// Begins another day if the date has changed. If the clock was set back, continues the saved
    /// counts of that day.
    fn begin_day(&self, past: &mut VecDeque<Tally>, day: Day) -> Result<()> {
        if self.today().day() == day {
            return Ok(());
        }
        let new = read(&self.files, day, self.bounds)?;
        let ended = std::mem::replace(&mut *self.today(), new);
        past.push_back(ended.into_past());
        // The last day always stays. Earlier ones are dropped if there are too many days or keys.
        let keys = |past: &VecDeque<Tally>| past.iter().map(Tally::len).sum::<usize>();
        while past.len() > MAX_UNSAVED_DAYS || (past.len() > 1 && keys(past) > self.bounds.keys) {
            tracing::error!(
                "dropped the unsaved analytics of a day, because the disk could not be written \
                 for too long"
            );
            past.pop_front();
        }
        Ok(())
    }

    /// Summarizes the current day, with at most `max` keys.
    pub(crate) fn summarize_today(&self, max: usize) -> Today {
        let (mut all, mut from, mut top) = (Counts::default(), 0, BinaryHeap::new());
        loop {
            let page = self.today().page(from);
            if page.is_empty() {
                break;
            }
            from += page.len();
            for row in page {
                all.add(&row.counts);
                let Some(key) = row.key else { continue };
                top.push(Reverse(Ranked { key, counts: row.counts }));
                if top.len() > max {
                    top.pop();
                }
            }
        }
        let top = top
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse(ranked)| (ranked.key, ranked.counts))
            .collect();
        Today { day: self.today().day(), all, top }
    }

    fn today(&self) -> MutexGuard<'_, Tally> {
        lock(&self.today)
    }
}

/// A key ordered by downloads, then by requests, then in reverse by name.
#[derive(Debug, PartialEq, Eq)]
struct Ranked {
    key: Key,
    counts: Counts,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |ranked: &Self| (ranked.counts.downloads, ranked.counts.requests);
        rank(self).cmp(&rank(other)).then_with(|| other.key.cmp(&self.key))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn read(files: &Files, day: Day, bounds: Bounds) -> Result<Tally> {
    let mut tally = Tally::new(day, bounds);
    files.read(day, |row| {
        tally.restore(&row);
        Ok(())
    })?;
    Ok(tally)
}

// No code panics while it holds a lock, so the counts in a poisoned lock are valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
