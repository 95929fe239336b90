//! Staged files: the bytes of objects that are not visible yet, in `.anystorage/staging`. Also
//! removes those of killed processes.
//!
//! A file holds a lock while its stream is received. Other staged files exist only for a moment. So
//! a sweep removes the files that are old and not locked.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cap_fs_ext::{FollowSymlinks, MetadataExt, OpenOptionsFollowExt};
use cap_std::fs::{Dir, Metadata, OpenOptions};
use storage_core::internal::hex;
use storage_core::{Result, keys};

use super::io_error::{io_error, is_missing, means_absent};
use super::platform;
use super::root::{MAX_ATTEMPTS, Root, STAGING};
use crate::errors;
use crate::save_stream::write_chunks;
use crate::uploads::{DATA, Placing};
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
    /// Its name in this directory.
    name: String,
    /// Set if it is the data of an upload, which stays if it is not put in its place.
    placing: Option<Placing>,
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
                Ok(file) => return Ok(Self::named(file.into_std(), directory, hex(&id), id)),
                // Another process removed the directory while it was empty.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(io_error(error, "staging the object")),
            }
        }
        Err(errors::directory_removed())
    }

    fn named(file: File, directory: Dir, name: String, id: Id) -> Self {
        Self { file, id, directory, name, placing: None, is_placed: false }
    }

    /// Takes the data of an upload. If it is not put in its place, it stays where it is.
    pub(crate) fn of_upload(file: File, directory: Dir, id: Id, placing: Placing) -> Self {
        let mut staged = Self::named(file, directory, DATA.to_owned(), id);
        staged.placing = Some(placing);
        staged
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
        write_chunks(&self.file, chunks)
    }

    /// Puts the file in its place, over any file that is there.
    pub(crate) fn place_over(&mut self, directory: &Dir, name: &str) -> io::Result<()> {
        self.unlock();
        match platform::retry_while_denied(|| self.directory.rename(&self.name, directory, name)) {
            // NFS reports an error if it renamed the file and the response was lost.
            Err(_) if is_same_file(&self.file, directory, name) => {}
            renamed => renamed?,
        }
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
        let link = || match self.directory.hard_link(&self.name, directory, name) {
            // NFS reports an error if it made the link and the response was lost.
            Err(_) if is_same_file(&self.file, directory, name) => Ok(()),
            linked => linked,
        };
        let linked = match &self.placing {
            Some(placing) => placing.place(&self.file, link),
            None => link(),
        };
        match linked {
            Ok(()) if self.placing.is_some() => {
                let _ = platform::retry_while_denied(|| self.directory.remove_file(&self.name));
                self.is_placed = true;
                Ok(())
            }
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

/// Returns whether a name is one of an open file. Returns `false` if this cannot be found out.
fn is_same_file(file: &File, directory: &Dir, name: &str) -> bool {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    platform::do_not_block(&mut options);
    // Windows reports the inode of open files only.
    let named = directory.open_with(name, &options).and_then(|file| file.metadata());
    match (Metadata::from_file(file), named) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_placed && self.placing.is_none() {
            let _ = platform::retry_while_denied(|| self.directory.remove_file(&self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

    use super::*;

    /// On a network file system whose response was lost.
    #[test]
    fn a_link_that_was_made_is_not_taken_for_another_file() {
        let scratch = tempfile::tempdir().unwrap();
        let open = || Dir::open_ambient_dir(scratch.path(), cap_std::ambient_authority()).unwrap();
        let staged = |name: &str| {
            let mut options = OpenOptions::new();
            let file = open().open_with(name, options.read(true).write(true).create(true)).unwrap();
            Staged::named(file.into_std(), open(), name.to_owned(), Id::default())
        };
        let mut ours = staged("ours");
        open().hard_link("ours", &open(), "key").unwrap();
        ours.place_new(&open(), "key").unwrap();
        let taken = staged("other").place_new(&open(), "key").unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    }
}
