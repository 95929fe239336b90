//! The days on the disk: a file each, `2025-01-31.jsonl`, of one [`Row`] a line, in `analytics`
//! below the cache's directory.
//!
//! The store leaves that directory alone, and it is not part of `max_size`: a day takes some 200
//! bytes for each key that was asked for. A file is replaced as a whole, so that a crash leaves the
//! one before or the one after.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use storage_core::{Error, Result};

use super::day::Day;
use super::tally::Row;

const DIRECTORY: &str = "analytics";
const EXTENSION: &str = ".jsonl";
/// What is written until it is whole.
const UNFINISHED: &str = ".new";

#[derive(Debug, Clone)]
pub(super) struct Files {
    path: PathBuf,
}

impl Files {
    /// Below a cache's directory; nothing is touched.
    pub(super) fn below(cache_dir: &Path) -> Self {
        Self { path: cache_dir.join(DIRECTORY) }
    }

    /// Makes the directory, nobody else's business.
    pub(super) fn make_directory(&self) -> Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.path).map_err(|error| self.in_context(error))
    }

    /// The days that there are, the first one first.
    pub(super) fn days(&self) -> Result<Vec<Day>> {
        let mut days = Vec::new();
        for file in fs::read_dir(&self.path).map_err(|error| self.in_context(error))? {
            let name = file.map_err(|error| self.in_context(error))?.file_name();
            let day: Option<Day> = name
                .to_str()
                .and_then(|name| name.strip_suffix(EXTENSION))
                .and_then(|day| day.parse().ok());
            // Whoever put another file here may need it.
            days.extend(day);
        }
        days.sort_unstable();
        Ok(days)
    }

    /// Goes through the rows of a day; none if there is no such day.
    pub(super) fn read(&self, day: Day, mut each: impl FnMut(Row) -> io::Result<()>) -> Result<()> {
        let file = match File::open(self.file(day)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.in_context(error)),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(|error| self.in_context(error))?;
            match serde_json::from_slice(&line) {
                Ok(row) => each(row).map_err(Error::from)?,
                Err(error) => {
                    tracing::warn!(%day, %error, "a line of the analytics cannot be read, and is left out");
                }
            }
        }
        Ok(())
    }

    /// Writes a day, in place of what there was. `more` gives the rows from a place on, and none at
    /// the end.
    pub(super) fn write(&self, day: Day, more: impl FnMut(usize) -> Vec<Row>) -> Result<()> {
        let new = self.path.join(format!("{day}{UNFINISHED}"));
        let written = write_rows(&new, more)
            .and_then(|()| fs::rename(&new, self.file(day)))
            .and_then(|()| sync_directory(&self.path));
        if written.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&new);
        }
        written.map_err(|error| self.in_context(error))
    }

    /// Removes the first days, so that so many are left. By their number, not by their age: a clock
    /// that is wrong costs one day, not all.
    pub(super) fn keep(&self, most: usize) -> Result<()> {
        let days = self.days()?;
        let few = days.len().saturating_sub(most);
        days.iter()
            .take(few)
            .try_for_each(|day| fs::remove_file(self.file(*day)).map_err(|e| self.in_context(e)))
    }

    fn file(&self, day: Day) -> PathBuf {
        self.path.join(format!("{day}{EXTENSION}"))
    }

    fn in_context(&self, error: io::Error) -> Error {
        Error::from(error).with_context(&format!("analytics in {}", self.path.display()))
    }
}

fn write_rows(path: &Path, mut more: impl FnMut(usize) -> Vec<Row>) -> io::Result<()> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::new(options.write(true).create(true).truncate(true).open(path)?);
    let mut written = 0;
    loop {
        let rows = more(written);
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

/// Elsewhere a directory cannot be opened to be synced; the system writes it out in its own time.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
