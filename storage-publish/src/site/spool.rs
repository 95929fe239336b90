//! Keeps rewritten files in memory, and those that are too many in a temporary directory.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use storage_core::{Error, Result};
use tempfile::TempDir;

use super::asset::{Content, SpooledFile};

/// Keeps rewritten files in memory up to a limit, and the others in a temporary directory.
#[derive(Debug)]
pub(crate) struct Spool {
    free: u64,
    directory: Option<Arc<TempDir>>,
    files: u64,
}

impl Spool {
    pub(crate) fn new(memory_bytes: u64) -> Self {
        Self { free: memory_bytes, directory: None, files: 0 }
    }

    pub(crate) fn keep(&mut self, bytes: Vec<u8>) -> Result<Content> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Some(free) = self.free.checked_sub(size) {
            self.free = free;
            return Ok(Content::Rewritten(Bytes::from(bytes)));
        }
        let directory = match &self.directory {
            Some(directory) => Arc::clone(directory),
            None => Arc::new(tempfile::tempdir().map_err(failed)?),
        };
        self.directory = Some(Arc::clone(&directory));
        let path = directory.path().join(self.files.to_string());
        self.files += 1;
        fs::write(&path, bytes).map_err(failed)?;
        Ok(Content::Spooled(SpooledFile::new(path, directory)))
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::from(error).with_context("cannot write a rewritten file to the temporary directory")
}
