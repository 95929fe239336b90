//! [`Files`]: the saved days, one file each (`2025-01-31.jsonl`) with one [`Row`] a line, in
//! `analytics` below the cache directory.
//!
//! Beside each is its summary (`2025-01-31.summary.json`), which is written after the day and
//! contains the size of the day's file: a summary of another size is not used.
//!
//! The store does not touch that directory, and it does not count towards `max_size`. A day takes
//! about 200 bytes for each requested key. A file is replaced atomically, so that a crash leaves
//! either the old or the new file.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use storage_core::{Error, Result};

use super::counts::Row;
use super::day::Day;
use super::summary::{DaySummary, SummaryBuilder};

const DIRECTORY: &str = "analytics";
const EXTENSION: &str = ".jsonl";
const SUMMARY_EXTENSION: &str = ".summary.json";
/// Upper bound for the size of a summary, in bytes. 25 keys of 1024 bytes, escaped, need less.
const MAX_SUMMARY: u64 = 1024 * 1024;
/// The suffix of a file that is still being written.
const UNFINISHED: &str = ".new";

/// A summary as it is saved.
#[derive(Serialize, Deserialize)]
struct SavedSummary {
    /// The size of the day's file, in bytes.
    file_size: u64,
    #[serde(flatten)]
    summary: DaySummary,
}

/// The directory of the saved days.
#[derive(Debug, Clone)]
pub(super) struct Files {
    path: PathBuf,
}

impl Files {
    /// Returns the directory below a cache directory, without access to the disk.
    pub(super) fn below(cache_dir: &Path) -> Self {
        Self { path: cache_dir.join(DIRECTORY) }
    }

    /// Creates the directory. On Unix only its owner has access.
    pub(super) fn create_directory(&self) -> Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.path).map_err(|error| self.in_context(error))
    }

    /// Returns the saved days in ascending order.
    pub(super) fn days(&self) -> Result<Vec<Day>> {
        let mut days = Vec::new();
        for file in fs::read_dir(&self.path).map_err(|error| self.in_context(error))? {
            let name = file.map_err(|error| self.in_context(error))?.file_name();
            let day: Option<Day> = name
                .to_str()
                .and_then(|name| name.strip_suffix(EXTENSION))
                .and_then(|day| day.parse().ok());
            // Other files are ignored and stay.
            days.extend(day);
        }
        days.sort_unstable();
        Ok(days)
    }

    /// Passes each row of a day to `visit`. A day without a file has no rows.
    pub(super) fn read(
        &self,
        day: Day,
        mut visit: impl FnMut(Row) -> io::Result<()>,
    ) -> Result<()> {
        let file = match File::open(self.file(day)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.in_context(error)),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|error| self.in_context(error))?;
            match serde_json::from_slice(&line) {
                Ok(row) => visit(row).map_err(Error::from)?,
                Err(error) => {
                    tracing::warn!(%day, %error, "skipped an unreadable line of the analytics");
                }
            }
        }
        Ok(())
    }

    /// Replaces the file of a day. `next_rows` returns some rows from an index on, and no rows at
    /// the end.
    pub(super) fn write(&self, day: Day, next_rows: impl FnMut(usize) -> Vec<Row>) -> Result<()> {
        self.replace(&self.file(day), |file| write_rows(file, next_rows))
    }

    /// Replaces the summary of a day, after the day was written.
    pub(super) fn write_summary(&self, summary: DaySummary) -> Result<()> {
        let path = self.summary_file(summary.day);
        let file_size = self.size(summary.day)?;
        self.replace(&path, |file| {
            Ok(serde_json::to_writer(file, &SavedSummary { file_size, summary })?)
        })
    }

    /// Returns the saved summary of a day. Returns `None` if there is none, or if it is not that of
    /// the day's present file.
    pub(super) fn summary(&self, day: Day) -> Option<DaySummary> {
        let file = File::open(self.summary_file(day)).ok()?.take(MAX_SUMMARY);
        let saved: SavedSummary = serde_json::from_reader(BufReader::new(file)).ok()?;
        let is_current = saved.summary.day == day && self.size(day).ok()? == saved.file_size;
        is_current.then_some(saved.summary)
    }

    /// Sums up the rows of a day, and saves the summary. Reads the whole file of the day.
    pub(super) fn summarize(&self, day: Day) -> Result<DaySummary> {
        let mut builder = SummaryBuilder::new(day);
        self.read(day, |row| {
            builder.add(row);
            Ok(())
        })?;
        let summary = builder.build();
        self.write_summary(summary.clone())?;
        Ok(summary)
    }

    /// Removes the oldest days until at most `max` are left, and returns the removed days. The
    /// number counts, not the age: a wrong clock then removes one day and not all.
    pub(super) fn keep_latest(&self, max: usize) -> Result<Vec<Day>> {
        let mut days = self.days()?;
        days.truncate(days.len().saturating_sub(max));
        for day in &days {
            // The summary first: without its day it would stay forever.
            match fs::remove_file(self.summary_file(*day)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.in_context(error));
                }
                _ => fs::remove_file(self.file(*day)).map_err(|error| self.in_context(error))?,
            }
        }
        Ok(days)
    }

    /// Writes a file under another name, and renames it.
    fn replace(
        &self,
        path: &Path,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(UNFINISHED);
        let written = write_file(Path::new(&new), write)
            .and_then(|()| fs::rename(&new, path))
            .and_then(|()| sync_directory(&self.path));
        if written.is_err() {
            // The file may not exist.
            let _ = fs::remove_file(&new);
        }
        written.map_err(|error| self.in_context(error))
    }

    fn size(&self, day: Day) -> Result<u64> {
        Ok(fs::metadata(self.file(day)).map_err(|error| self.in_context(error))?.len())
    }

    fn file(&self, day: Day) -> PathBuf {
        self.path.join(format!("{day}{EXTENSION}"))
    }

    fn summary_file(&self, day: Day) -> PathBuf {
        self.path.join(format!("{day}{SUMMARY_EXTENSION}"))
    }

    fn in_context(&self, error: io::Error) -> Error {
        Error::from(error).with_context(&format!("analytics in {}", self.path.display()))
    }
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::new(options.write(true).create(true).truncate(true).open(path)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn write_rows(
    file: &mut BufWriter<File>,
    mut next_rows: impl FnMut(usize) -> Vec<Row>,
) -> io::Result<()> {
    let mut written = 0;
    loop {
        let rows = next_rows(written);
        if rows.is_empty() {
            return Ok(());
        }
        written += rows.len();
        for row in rows {
            serde_json::to_writer(&mut *file, &row)?;
            file.write_all(b"\n")?;
        }
    }
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Other systems cannot sync a directory. The operating system writes it later.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
