//! [`Analytics`]: downloads and bytes for each key and day, kept across restarts.
//!
//! The current day is counted in memory ([`tally`]) and saved once a minute and at the end
//! ([`files`]), so a crash loses at most a minute. Each day has a [`summary`], so that the status
//! page does not read the counts of every key. [`export`] reads the saved days. Addresses and user
//! agents are never saved.

mod counts;
mod day;
mod export;
mod files;
mod history;
mod route;
mod search;
mod summary;
mod tally;
mod top;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use storage_core::Result;

use crate::server::record::Record;
use counts::Row;
use files::Files;
use history::History;
use tally::{Bounds, Tally};

pub(crate) use counts::Counts;
pub use day::Day;
pub use export::{ExportFormat, export};
pub(crate) use route::respond;
pub(crate) use search::SearchResult;
pub(crate) use summary::{DaySummary, DayTotal};
pub(crate) use top::TopKey;

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
    history: Mutex<History>,
}

/// The sums of the kept days.
#[derive(Debug)]
pub(crate) struct DayTotals {
    /// The current day.
    pub(crate) today: Day,
    /// The days with requests, including the current day.
    pub(crate) days: BTreeMap<Day, DayTotal>,
    /// The number of kept days that are not summed up yet.
    pub(crate) unread: usize,
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
        let history = Mutex::new(History::read(&files)?);
        Ok(Self { files, max_days, bounds, today, past: Mutex::default(), history })
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
            let is_over = self.wait(stop, SAVE_EVERY.min(Day::left(SystemTime::now())));
            if let Err(error) = self.save(SystemTime::now()) {
                tracing::error!(%error, "cannot save the analytics; they are kept in memory");
            }
            if is_over {
                return;
            }
        }
    }

    /// Waits, and meanwhile sums up the days that have no summary. Returns whether to stop.
    fn wait(&self, stop: &Receiver<()>, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end && self.summarize_unread() {
            if stop.try_recv() != Err(TryRecvError::Empty) {
                return true;
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        stop.recv_timeout(left) != Err(RecvTimeoutError::Timeout)
    }

    /// Sums up one day that has no summary. Returns `false` if there is none.
    fn summarize_unread(&self) -> bool {
        let Some(day) = lock(&self.history).take_unread() else { return false };
        // The lock of `past` is held while days are saved: no save may replace this day meanwhile.
        let _saving = lock(&self.past);
        match self.files.summarize(day) {
            Ok(summary) => lock(&self.history).set(day, summary.total),
            Err(error) => {
                tracing::warn!(%day, %error, "cannot sum up the analytics of a day");
            }
        }
        true
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
                let summary = tally.summary();
                let written = self.write(summary, |from| tally.page(from));
                written.inspect_err(|_| tally.set_changed())?;
            }
            past.pop_front();
        }
        let (summary, has_changed) = {
            let mut today = self.today();
            (today.summary(), today.take_changed())
        };
        if has_changed {
            let written = self.write(summary, |from| self.today().page(from));
            written.inspect_err(|_| self.today().set_changed())?;
        }
        Ok(())
    }

    /// Writes a day and its summary, and removes the oldest days beyond the maximum.
    fn write(&self, summary: DaySummary, next_rows: impl FnMut(usize) -> Vec<Row>) -> Result<()> {
        self.files.write(summary.day, next_rows)?;
        self.files.write_summary(summary)?;
        let removed = self.files.keep_latest(self.max_days)?;
        lock(&self.history).remove(&removed);
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
        let ended = ended.into_past();
        if !ended.is_empty() {
            lock(&self.history).set(ended.day(), ended.summary().total);
        }
        past.push_back(ended);
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

    /// Returns the sums and the top keys of the current day.
    pub(crate) fn summarize_today(&self) -> DaySummary {
        self.today().summary()
    }

    /// Returns the sums and the top keys of a day. Returns `None` if the day has no summary. Blocks
    /// on the disk.
    pub(crate) fn summary(&self, day: Day) -> Option<DaySummary> {
        let today = self.summarize_today();
        if today.day == day { Some(today) } else { self.files.summary(day) }
    }

    /// Returns the sums of the kept days.
    pub(crate) fn day_totals(&self) -> DayTotals {
        let today = self.summarize_today();
        let history = lock(&self.history);
        let (mut days, unread) = (history.totals(), history.unread());
        days.insert(today.day, today.total);
        DayTotals { today: today.day, days, unread }
    }

    fn today(&self) -> MutexGuard<'_, Tally> {
        lock(&self.today)
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
