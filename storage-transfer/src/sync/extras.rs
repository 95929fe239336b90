//! [`Extras`]: the objects that the source lacks, kept in a temporary file until the copies are
//! done.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};

use serde::{Deserialize, Serialize};
use storage_core::{Key, ObjectEntry, Result};

/// An object that the source lacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Extra {
    pub(crate) name: String,
    /// The number of the range of keys that it was found in.
    pub(crate) range: u64,
    pub(crate) size: u64,
    pub(crate) etag: Option<storage_core::ETag>,
}

/// A list of extras on disk, in the order of their names.
#[derive(Debug)]
pub(crate) struct Extras {
    file: Option<BufWriter<File>>,
    len: u64,
}

impl Extras {
    pub(crate) fn new() -> Self {
        Self { file: None, len: 0 }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn push(&mut self, extra: &Extra) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::with_capacity(1 << 18, tempfile::tempfile()?)),
        };
        // A key contains no line feed, and JSON escapes it anyway.
        serde_json::to_writer(&mut *file, extra).map_err(std::io::Error::from)?;
        file.write_all(b"\n")?;
        self.len += 1;
        Ok(())
    }

    /// Returns a reader from the first extra on.
    pub(crate) fn read(self) -> Result<ExtraReader> {
        let Some(file) = self.file else { return Ok(ExtraReader::from_records(Vec::new())) };
        let mut file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(ExtraReader::File(BufReader::with_capacity(1 << 18, file)))
    }
}

/// Reads a list of extras.
#[derive(Debug)]
pub(crate) enum ExtraReader {
    File(BufReader<File>),
    Records(std::vec::IntoIter<Extra>),
}

impl ExtraReader {
    pub(crate) fn from_records(records: Vec<Extra>) -> Self {
        Self::Records(records.into_iter())
    }

    /// Returns at most this many of the next extras; none at the end.
    pub(crate) fn next_batch(&mut self, max: usize) -> Result<Vec<Extra>> {
        let file = match self {
            Self::File(file) => file,
            Self::Records(records) => return Ok(records.take(max).collect()),
        };
        let (mut batch, mut line) = (Vec::new(), String::new());
        while batch.len() < max && file.read_line(&mut line)? > 0 {
            batch.push(serde_json::from_str(&line).map_err(std::io::Error::from)?);
            line.clear();
        }
        Ok(batch)
    }
}

impl Extra {
    pub(crate) fn new(name: &str, range: u64, object: &ObjectEntry) -> Self {
        Self { name: name.to_owned(), range, size: object.size, etag: object.etag.clone() }
    }

    pub(crate) fn key(&self, directory: &crate::Directory) -> Result<Key> {
        directory.key(&self.name)
    }
}
