//! [`SortOptions`]: memory and place of sorting, and the flag that stops the work on files.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use storage_core::{Error, ErrorKind, Result};

use super::run::temporary_file;

/// Where and with how much memory records are sorted.
#[derive(Debug, Clone)]
pub(crate) struct SortOptions {
    /// The memory for records, in bytes. Defaults to 32 MiB.
    pub(crate) memory: usize,
    /// The directory of the temporary files. Defaults to that of the system.
    pub(crate) directory: Option<PathBuf>,
    /// The maximum number of runs that are merged at once, at least 2. Defaults to 64.
    pub(crate) fan_in: usize,
}

impl Default for SortOptions {
    fn default() -> Self {
        Self { memory: 32 * 1024 * 1024, directory: None, fan_in: 64 }
    }
}

impl SortOptions {
    /// Opens a temporary file without a name.
    ///
    /// # Errors
    /// `InvalidConfig` if the directory does not exist or cannot be written.
    pub(crate) fn temporary_file(&self) -> Result<File> {
        temporary_file(self.directory.as_deref())
    }

    pub(super) fn fan_in(&self) -> usize {
        self.fan_in.max(2)
    }

    /// The size of each of two batches: one fills while the other is written.
    pub(super) fn batch_size(&self) -> usize {
        self.memory / 2
    }

    /// The size of the buffer of each run that is merged.
    pub(super) fn read_buffer(&self) -> usize {
        (self.memory / 2 / (self.fan_in() + 1)).clamp(512, 256 * 1024)
    }
}

/// What the tasks on the blocking pool need.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) options: SortOptions,
    pub(super) stop: Arc<AtomicBool>,
}

impl Work {
    /// Fails if the sorter was dropped: merging large files takes minutes, and a runtime waits at
    /// its end for all tasks of the blocking pool.
    pub(super) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unexpected, "the sorting was stopped"));
        }
        Ok(())
    }
}

/// Sets the flag when it is dropped.
#[derive(Debug, Default)]
pub(super) struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
