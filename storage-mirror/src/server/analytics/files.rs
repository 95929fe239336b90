//! [`Files`]: the saved days, one file each (`2025-01-31.jsonl`) with one [`Row`] a line, in
//! `analytics` below the cache directory.
//!
//! The store does not touch that directory, and it does not count towards `max_size`. A day takes
//! about 200 bytes for each requested key. A file is replaced atomically, so that a crash leaves
//! either the old or the new file.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use storage_core::{Error, Result};

use super::day::Day;
use super::tally::Row;

const DIRECTORY: &str = "analytics";
const EXTENSION: &str = ".jsonl";
/// The suffix of a file that is still being written.
const UNFINISHED: &str = ".new";

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
                    tracing::warn!(%day, %error, "skipped an unreadable line of the analytics")
                }
            }
        }
        Ok(())
    }

    /// Replaces the file of a day. `next_rows` returns some rows from an index on, and no rows at
    /// the end.
    pub(super) fn write(&self, day: Day, next_rows: impl FnMut(usize) -> Vec<Row>) -> Result<()> {
        let new = self.path.join(format!("{day}{UNFINISHED}"));
        let written = write_rows(&new, next_rows)
            .and_then(|()| fs::rename(&new, self.file(day)))
            .and_then(|()| sync_directory(&self.path));
        if written.is_err() {
            // The file may not exist.
            let _ = fs::remove_file(&new);
        }
        written.map_err(|error| self.in_context(error))
    }

    /// Removes the oldest days until at most `max` are left. The number counts, not the age: a
    /// wrong clock then removes one day and not all.
    pub(super) fn keep_latest(&self, max: usize) -> Result<()> {
        let days = self.days()?;
        let excess = days.len().saturating_sub(max);
        days.iter()
            .take(excess)
            .try_for_each(|day| fs::remove_file(self.file(*day)).map_err(|e| self.in_context(e)))
    }

    fn file(&self, day: Day) -> PathBuf {
        self.path.join(format!("{day}{EXTENSION}"))
    }

    fn in_context(&self, error: io::Error) -> Error {
        Error::from(error).with_context(&format!("analytics in {}", self.path.display()))
    }
}

fn write_rows(path: &Path, mut next_rows: impl FnMut(usize) -> Vec<Row>) -> io::Result<()> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::new(options.write(true).create(true).truncate(true).open(path)?);
    let mut written = 0;
    loop {
        let rows = next_rows(written);
        if rows.is_empty() {
            break;
        }
        written += rows.len();
        for row in rows {
            serde_json::to_writer(&mut file, &row)?;
            file.write_all(b"\n")?;
        }
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
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
