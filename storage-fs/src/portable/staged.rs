//! Staged files: the bytes of objects that are not visible yet, in `.anystorage/staging`. Also
//! removes those of killed processes.
//!
//! A file holds a lock while its stream is received. Other staged files exist only for a moment. So
//! a sweep removes the files that are old and not locked.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions};
use storage_core::internal::hex;
use storage_core::{Result, keys};

use super::io_error::{io_error, is_missing, means_absent};
use super::platform;
use super::root::{MAX_ATTEMPTS, Root, STAGING};
use crate::errors;
use crate::version::Id;

/// The minimum age of a file that a sweep removes (1 h).
pub(crate) const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);

/// The staging directory of a root.
#[derive(Debug)]
pub(crate) struct Staging {
    root: Arc<Root>,
    swept: Mutex<Option<Instant>>,
}

impl Staging {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root, swept: Mutex::new(None) }
    }

    /// Opens the staging directory, and sweeps it at most once an hour.
    fn directory(&self) -> Result<Dir> {
        let directory = self.root.own_directory(STAGING)?;
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_none_or(|swept| swept.elapsed() >= SWEEP_AGE) {
            *swept = Some(Instant::now());
            if let Err(error) = sweep(&directory, SWEEP_AGE) {
                tracing::debug!(
                    root = %self.root.path().display(), %error,
                    "the staging directory could not be swept"
                );
            }
        }
        Ok(directory)
    }

    /// Removes files of killed processes that are older than `age`. Returns their number.
    pub(crate) fn sweep(&self, age: Duration) -> Result<usize> {
        let swept = self.root.open_directory(STAGING).and_then(|directory| sweep(&directory, age));
        match swept {
            Err(error) if means_absent(&error) => Ok(0),
            swept => swept.map_err(|error| io_error(error, "sweeping the staging directory")),
        }
    }
}

/// Removes the driver's own directories that are empty, so that a short use of a root leaves none
/// of them.
impl Drop for Staging {
    fn drop(&mut self) {
        if self.swept.get_mut().unwrap_or_else(PoisonError::into_inner).is_some() {
            self.root.remove_empty_own_directories();
        }
    }
}

fn sweep(directory: &Dir, age: Duration) -> io::Result<usize> {
    let mut removed = 0;
    for entry in directory.entries()? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_debris(directory, name, age) && directory.remove_file(name).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_debris(directory: &Dir, name: &str, age: Duration) -> bool {
    let Ok(meta) = directory.symlink_metadata(name) else { return false };
    let Ok(modified) = meta.modified() else { return false };
    let is_old =
        SystemTime::now().duration_since(modified.into_std()).is_ok_and(|since| since >= age);
    is_old && meta.is_file() && !is_locked(directory, name)
}

fn is_locked(directory: &Dir, name: &str) -> bool {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    platform::do_not_block(&mut options);
    match directory.open_with(name, &options) {
        // Without locks, the minimum age alone decides.
        Ok(file) => matches!(file.into_std().try_lock(), Err(std::fs::TryLockError::WouldBlock)),
        // If the file cannot be opened, for example because of too many open files, its process
        // may be alive.
        Err(_) => true,
    }
}

/// A file that is not visible yet. Dropping it removes the file unless it was put in its place.
#[derive(Debug)]
pub(crate) struct Staged {
    file: File,
    id: Id,
    directory: Dir,
    is_placed: bool,
}

impl Staged {
    /// Creates an empty file. Other users cannot open it, because its directory is closed to them.
    pub(crate) fn create(staging: &Staging, mode: u32) -> Result<Self> {
        let id: Id = keys::random_bytes()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).follow(FollowSymlinks::No);
        platform::set_creation_mode(&mut options, mode | 0o600);
        for _ in 0..MAX_ATTEMPTS {
            let directory = staging.directory()?;
            match directory.open_with(hex(&id), &options) {
                Ok(file) => {
                    return Ok(Self { file: file.into_std(), id, directory, is_placed: false });
                }
                // Another process removed the directory while it was empty.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(io_error(error, "staging the object")),
            }
        }
        Err(errors::directory_removed())
    }

    /// Locks the file so that no sweep removes it while the process lives.
    pub(crate) fn lock(&self) {
        // Without locks, only the minimum age protects the file from a sweep.
        let _ = self.file.try_lock();
    }

    /// Returns the unique id of this file.
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes chunks with as few system calls as possible.
    pub(crate) fn write(&mut self, chunks: &[Bytes]) -> Result<()> {
        let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut slices = &mut slices[..];
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Puts the file in its place, over any file that is there.
    pub(crate) fn place_over(&mut self, directory: &Dir, name: &str) -> io::Result<()> {
        self.unlock();
        platform::retry_while_denied(|| self.directory.rename(hex(&self.id), directory, name))?;
        self.is_placed = true;
        Ok(())
    }

    /// Puts the file in its place if that is vacant. Otherwise fails with `AlreadyExists`.
    ///
    /// Creates a hard link, which is one exclusive step of the file system, and removes the staged
    /// name later. On file systems without hard links (FAT), renames the file under the protection
    /// of the key's lock, which the caller holds.
    pub(crate) fn place_new(&mut self, directory: &Dir, name: &str) -> io::Result<()> {
        self.unlock();
        match self.directory.hard_link(hex(&self.id), directory, name) {
            // `drop` removes the staged name.
            Ok(()) => Ok(()),
            Err(error)
                if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) =>
            {
                Err(error)
            }
            Err(_) => match directory.symlink_metadata(name) {
                Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.place_over(directory, name)
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Releases the lock, because Windows denies reading a locked file. The commit has just set the
    /// time of the file, so no sweep removes it.
    fn unlock(&self) {
        let _ = self.file.unlock();
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = platform::retry_while_denied(|| self.directory.remove_file(hex(&self.id)));
        }
    }
}
