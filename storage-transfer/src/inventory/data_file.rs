//! [`DataFile`]: a file of an inventory, copied to disk and verified before it is decoded.

use std::fs::File;
use std::io::{Seek, Write};

use futures_util::TryStreamExt;
use storage_core::{ChecksumAlgorithm, Error, ErrorKind, Hasher, Key, Result, Storage};

use super::errors::file_context;
use crate::sort::{SortOptions, join, spawn};

/// The maximum size of a data file, in bytes. Those of S3 have less than 1 GiB.
const MAX_DATA_FILE: u64 = 16 * 1024 * 1024 * 1024;

/// The number of bytes that are written at once.
const WRITE_AT_ONCE: usize = 1024 * 1024;

/// A file of an inventory, as the manifest describes it.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    pub(super) key: Key,
    pub(super) size: u64,
    /// In hexadecimal digits.
    pub(super) md5: String,
}

impl DataFile {
    /// Copies the file to an unnamed temporary file, and returns it if size and MD5 are right.
    pub(super) async fn fetch(&self, storage: &Storage) -> Result<File> {
        self.fetch_checked(storage).await.map_err(|error| file_context(error, &self.key))
    }

    async fn fetch_checked(&self, storage: &Storage) -> Result<File> {
        if self.size > MAX_DATA_FILE {
            let message = format!("it has {} bytes; at most 16 GiB are supported", self.size);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let object = storage.open(&self.key).await?;
        let mut chunks = object.into_stream();
        let mut copy = join(spawn(Copy::begin)).await?;
        let mut buffer = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            buffer.extend_from_slice(&chunk);
            if copy.size + buffer.len() as u64 > self.size {
                return Err(self.wrong_size("more"));
            }
            if buffer.len() >= WRITE_AT_ONCE {
                let full = std::mem::take(&mut buffer);
                copy = join(spawn(move || copy.write(&full))).await?;
            }
        }
        copy = join(spawn(move || copy.write(&buffer)?.rewind())).await?;
        if copy.size < self.size {
            return Err(self.wrong_size("fewer"));
        }
        if !copy.hasher.finish().to_hex().eq_ignore_ascii_case(&self.md5) {
            let message = "its MD5 differs from that in the manifest: the file was changed or \
                           damaged; wait for the next inventory";
            return Err(Error::new(ErrorKind::Integrity, message));
        }
        Ok(copy.file)
    }

    fn wrong_size(&self, than: &str) -> Error {
        let message = format!("it has {than} bytes than the {} of the manifest", self.size);
        Error::new(ErrorKind::Integrity, message)
    }
}

/// A copy under way.
struct Copy {
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Copy {
    fn begin() -> Result<Self> {
        let file = SortOptions::default().temporary_file()?;
        Ok(Self { file, hasher: Hasher::new(ChecksumAlgorithm::Md5), size: 0 })
    }

    fn write(mut self, bytes: &[u8]) -> Result<Self> {
        self.file.write_all(bytes).map_err(file_error)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(self)
    }

    /// Goes to the beginning of the file.
    fn rewind(mut self) -> Result<Self> {
        self.file.rewind().map_err(file_error)?;
        Ok(self)
    }
}

fn file_error(error: std::io::Error) -> Error {
    Error::from(error).with_context("a temporary file")
}
