//! Locks on keys between the tasks, drivers and processes that share a root.
//!
//! Every step that changes an object takes the key's lock exclusively. The locks are those of
//! [`std::fs::File`] (`flock` on Unix, `LockFileEx` on Windows) on the files in
//! `.anystorage/locks` that the implementation for Linux uses too.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cap_fs_ext::{FollowSymlinks, MetadataExt, OpenOptionsFollowExt};
use cap_std::fs::{Dir, Metadata, OpenOptions};
use storage_core::{Key, Result};

use super::io_error::{io_error, is_missing, state_dir_error};
use super::platform;
use super::root::{LOCKS, MAX_ATTEMPTS, Root};
use crate::errors;
use crate::names::lock_file_name;

/// How long to wait for a lock (30 s). A process holds a lock for moments, unless it is stopped.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The lock files of a root.
#[derive(Debug)]
pub(crate) struct Locks {
    root: Arc<Root>,
    remove: bool,
}

/// A lock on a key, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Locks {
    /// Returns the locks of a root. With `remove`, dropping them removes the lock files.
    pub(crate) fn new(root: Arc<Root>, remove: bool) -> Self {
        Self { root, remove }
    }

    /// Locks a key. Returns `None` on a file system without locks.
    ///
    /// Blocks for up to 30 s while another process holds the lock, then fails with `Timeout`.
    pub(crate) fn lock(&self, key: &Key) -> Result<Option<Lock>> {
        let name = lock_file_name(key);
        for _ in 0..MAX_ATTEMPTS {
            let directory = self.root.own_directory(LOCKS)?;
            let file = match open_or_create(&directory, &name) {
                // Another process removed the directory.
                Err(error) if is_missing(&error) => continue,
                opened => opened.map_err(state_dir_error)?,
            };
            match acquire(&file) {
                Ok(()) if is_current(&directory, &name, &file) => {
                    return Ok(Some(Lock { _file: file }));
                }
                // The file was removed before this process got the lock.
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
                Err(error) => return Err(io_error(error, "locking the object")),
            }
        }
        Err(errors::directory_removed())
    }

    /// Locks two keys. Returns `None` on a file system without locks.
    ///
    /// Takes the locks in the order of their files, so that two calls cannot wait for each other:
    /// nothing else takes a second lock.
    pub(crate) fn lock_both(&self, one: &Key, other: &Key) -> Result<Option<[Option<Lock>; 2]>> {
        let (first, last) = match lock_file_name(one) <= lock_file_name(other) {
            true => (one, other),
            false => (other, one),
        };
        let Some(lock) = self.lock(first)? else { return Ok(None) };
        if lock_file_name(first) == lock_file_name(last) {
            return Ok(Some([Some(lock), None]));
        }
        let second = self.lock(last)?;
        Ok(second.map(|second| [Some(lock), Some(second)]))
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        if !self.remove {
            return;
        }
        if let Ok(directory) = self.root.open_directory(LOCKS) {
            // A file that cannot be removed stays, as without this option.
            for entry in directory.entries().into_iter().flatten().flatten() {
                let _ = entry.file_name().to_str().map(|name| remove_unless_held(&directory, name));
            }
        }
        self.root.remove_empty_own_directories();
    }
}

fn remove_unless_held(directory: &Dir, name: &str) -> io::Result<()> {
    let file = open(directory, name, &mut OpenOptions::new())?;
    file.try_lock()?;
    // Since the file was opened, another process may have removed it and created a new one.
    if is_current(directory, name, &file) { directory.remove_file(name) } else { Ok(()) }
}

/// Returns whether a locked file is still the one that other processes open.
fn is_current(directory: &Dir, name: &str, file: &File) -> bool {
    let current = open(directory, name, &mut OpenOptions::new());
    let (Ok(current), Ok(locked)) =
        (current.and_then(|file| Metadata::from_file(&file)), Metadata::from_file(file))
    else {
        return false;
    };
    (current.dev(), current.ino()) == (locked.dev(), locked.ino())
}

fn open(directory: &Dir, name: &str, options: &mut OpenOptions) -> io::Result<File> {
    // NFS needs a writable file for an exclusive lock.
    options.read(true).write(true).follow(FollowSymlinks::No);
    platform::do_not_block(options);
    directory.open_with(name, options).map(cap_std::fs::File::into_std)
}

fn open_or_create(directory: &Dir, name: &str) -> io::Result<File> {
    match open(directory, name, &mut OpenOptions::new()) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mut options = OpenOptions::new();
    options.create_new(true);
    platform::set_creation_mode(&mut options, 0o600);
    match open(directory, name, &mut options) {
        Ok(file) => {
            platform::give_to_owner_of(directory, &file);
            Ok(file)
        }
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            open(directory, name, &mut OpenOptions::new())
        }
        Err(error) => Err(error),
    }
}

/// Waits for the lock on an open file. Fails with `WouldBlock` after [`LOCK_TIMEOUT`].
fn acquire(file: &File) -> io::Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => continue,
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_TIMEOUT => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}
