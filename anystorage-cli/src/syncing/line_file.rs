//! [`LineFile`]: a file that receives JSON lines from many tasks.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anystorage::internal::escape_invisible_in_json;
use anystorage::{Error, Result};
use serde_json::{Map, Value};

use crate::exit::{ExitStatus, Failure};

/// The maximum length of the text of an error, in characters. A line must be short enough for
/// `--keys-from`, which reads 64 KiB.
const MAX_ERROR_CHARS: usize = 4000;

/// A file of JSON lines. The first error of a write is kept until [`finish`](Self::finish).
#[derive(Debug)]
pub(crate) struct LineFile {
    path: PathBuf,
    writer: Mutex<io::Result<BufWriter<File>>>,
}

/// What a line contains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Omitted if this is `None`.
    pub(crate) symbol: Option<char>,
    pub(crate) key: &'a str,
    pub(crate) size: Option<u64>,
    pub(crate) error: Option<&'a Error>,
}

impl LineFile {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// A usage error if that is impossible.
    pub(crate) fn create(path: &Path) -> std::result::Result<Self, Failure> {
        let file = File::create(path).map_err(|error| {
            Failure::local(&path.display().to_string(), &Error::from(error))
                .with_exit(ExitStatus::Usage)
        })?;
        let writer = Mutex::new(Ok(BufWriter::with_capacity(64 * 1024, file)));
        Ok(Self { path: path.to_owned(), writer })
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let text = line.to_text();
        let mut writer = self.lock();
        if let Ok(open) = &mut *writer
            && let Err(error) = open.write_all(text.as_bytes())
        {
            *writer = Err(error);
        }
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// The first error of any write.
    pub(crate) fn finish(&self) -> std::result::Result<(), Failure> {
        let mut writer = self.lock();
        let written = match &mut *writer {
            Ok(open) => open.flush(),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        written.map_err(|error| {
            let error = Error::from(error).with_context("the file is incomplete");
            Failure::local(&self.path.display().to_string(), &error)
        })
    }

    // A panic while writing leaves a whole buffer.
    fn lock(&self) -> MutexGuard<'_, io::Result<BufWriter<File>>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line<'_> {
    /// Returns the line with its line feed.
    fn to_text(self) -> String {
        let mut fields = Map::new();
        if let Some(symbol) = self.symbol {
            fields.insert("symbol".to_owned(), Value::from(symbol.to_string()));
        }
        fields.insert("key".to_owned(), Value::from(self.key));
        if let Some(size) = self.size {
            fields.insert("size".to_owned(), Value::from(size));
        }
        if let Some(error) = self.error {
            let text: String = error.to_string().chars().take(MAX_ERROR_CHARS).collect();
            fields.insert("error".to_owned(), Value::from(text));
        }
        format!("{}\n", escape_invisible_in_json(&Value::from(fields).to_string()))
    }
}

/// The name of standard input in place of a file.
pub(crate) const STANDARD_INPUT: &str = "-";

/// Whether two paths name one file, as far as that is known. The second one may be
/// [`STANDARD_INPUT`].
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    // The first path may be the file `-`.
    let identity_of_a = identity(&Path::new(".").join(a));
    if identity_of_a.is_some() && identity_of_a == identity(b) {
        return true;
    }
    if b == Path::new(STANDARD_INPUT) {
        return false;
    }
    let real = |path: &Path| -> Result<PathBuf> { Ok(std::fs::canonicalize(path)?) };
    match (real(a), real(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => std::path::absolute(a).ok() == std::path::absolute(b).ok(),
    }
}

/// Returns the device and the number of a regular file, which its hard links share.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let found = match path == Path::new(STANDARD_INPUT) {
        true => File::from(io::stdin().as_fd().try_clone_to_owned().ok()?).metadata(),
        false => path.metadata(),
    };
    found.ok().filter(std::fs::Metadata::is_file).map(|found| (found.dev(), found.ino()))
}

/// Files have no number that the standard library can read here.
#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use anystorage::ErrorKind;

    use super::*;

    #[test]
    fn a_line_contains_only_what_is_known_and_no_invisible_character() {
        let line = Line { symbol: Some('='), key: "a\u{202e}b", size: Some(3), error: None };
        assert_eq!(line.to_text(), "{\"symbol\":\"=\",\"key\":\"a\\u202eb\",\"size\":3}\n");
        let error = Error::new(ErrorKind::Timeout, "late");
        let line = Line { symbol: None, key: "a", size: None, error: Some(&error) };
        assert!(line.to_text().starts_with("{\"key\":\"a\",\"error\":\""), "{}", line.to_text());
    }

    #[test]
    fn the_line_of_a_long_error_is_short_enough_to_be_read_again() {
        let error = Error::new(ErrorKind::Timeout, "\u{e0001}".repeat(100_000));
        let line = Line { symbol: Some('!'), key: "a", size: None, error: Some(&error) };
        assert!(line.to_text().len() < 64 * 1024);
    }
}
