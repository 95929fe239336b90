//! [`Analytics`]: downloads and bytes for each key and day, kept across restarts.
//!
//! Today is counted in memory ([`tally`]) and written down each minute and at the end ([`files`]):
//! a crash loses a minute. What is kept is exported from there ([`export`]). No address and no user
//! agent is ever written down.

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
pub(crate) use route::exported;
pub(crate) use tally::Counts;

/// How often today is written down.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// How many days may wait for a disk that cannot be written.
const MOST_UNSAVED: usize = 7;

/// What is counted, and where it is kept.
#[derive(Debug)]
pub(crate) struct Analytics {
    files: Files,
    most_days: usize,
    bounds: Bounds,
    today: Mutex<Tally>,
    /// Days that are over and not written down. Whoever writes holds the lock.
    past: Mutex<VecDeque<Tally>>,
}

/// The present day.
#[derive(Debug)]
pub(crate) struct Today {
    pub(crate) day: Day,
    pub(crate) all: Counts,
    /// The keys with the most downloads, the first one first.
    pub(crate) top: Vec<(Key, Counts)>,
}

impl Analytics {
    /// Reads what today has come to so far. Waits for the disk.
    pub(crate) fn open(cache_dir: &Path, most_days: usize, now: SystemTime) -> Result<Self> {
        Self::bounded(cache_dir, most_days, Bounds::default(), now)
    }

    fn bounded(
        cache_dir: &Path,
        most_days: usize,
        bounds: Bounds,
        now: SystemTime,
    ) -> Result<Self> {
        let files = Files::below(cache_dir);
        files.make_directory()?;
        files.keep(most_days)?;
        let today = Mutex::new(read(&files, Day::of(now), bounds)?);
        Ok(Self { files, most_days, bounds, today, past: Mutex::default() })
    }

    /// Counts a request that has ended, in the day that is under way.
    pub(crate) fn count(&self, record: &Record) {
        if record.sent().is_some() {
            self.today().count(record);
        }
    }

    /// Writes down each minute what has changed, until nobody can tell it to stop any more; then
    /// once more.
    pub(crate) fn keep_saving(&self, stop: &Receiver<()>) {
        loop {
            // Midnight is not slept over.
            let wait = SAVE_EVERY.min(Day::left(SystemTime::now()));
            let is_over = stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            if let Err(error) = self.save(SystemTime::now()) {
                tracing::error!(%error, "the analytics cannot be written down; they are kept in memory");
            }
            if is_over {
                return;
            }
        }
    }

    /// Begins a new day if it is time to, and writes down what has changed. Waits for the disk.
    pub(crate) fn save(&self, now: SystemTime) -> Result<()> {
        let mut past = lock(&self.past);
        self.begin_day(&mut past, Day::of(now))?;
        while let Some(tally) = past.front_mut() {
            if tally.take_changed() {
                let written = self.files.write(tally.day(), |from| tally.page(from));
                written.inspect_err(|_| tally.set_changed())?;
                self.files.keep(self.most_days)?;
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
            self.files.keep(self.most_days)?;
        }
        Ok(())
    }

    /// Also if the clock was put back: what there is of that day is gone on with.
    fn begin_day(&self, past: &mut VecDeque<Tally>, day: Day) -> Result<()> {
        if self.today().day() == day {
            return Ok(());
        }
        let new = read(&self.files, day, self.bounds)?;
        let over = std::mem::replace(&mut *self.today(), new);
        past.push_back(over.closed());
        // The last day is always kept; those before it as long as they are few, in days and in
        // keys.
        let keys = |past: &VecDeque<Tally>| past.iter().map(Tally::len).sum::<usize>();
        while past.len() > MOST_UNSAVED || (past.len() > 1 && keys(past) > self.bounds.keys) {
            tracing::error!(
                "the analytics of a day are lost, since the disk could not be written for too long"
            );
            past.pop_front();
        }
        Ok(())
    }

    /// What the present day has come to, with so many of its keys.
    pub(crate) fn today_so_far(&self, most: usize) -> Today {
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
                if top.len() > most {
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

/// A key among others: the more downloads, the greater, and the earlier in the alphabet, the
/// greater.
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
        tally.put_back(&row);
        Ok(())
    })?;
    Ok(tally)
}

// Nothing panics while a lock is held, so a poisoned one holds sound counts all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
