//! Locks on keys between the tasks, drivers and processes that share a root.
//!
//! - A step that puts a file in a vacant place needs no lock: of several, the file system lets one
//!   succeed.
//! - A step that replaces or removes an object takes the key's lock in shared mode.
//! - A step that compares first (`if_match`), or that writes a sidecar, takes it in exclusive mode.
//! - A rename takes the locks of both keys in exclusive mode.
//!
//! The locks are `flock` on files in `.anystorage/locks`. No other user can open them, because a
//! user who can open a file can hold a lock on it forever. Each key maps to one of 64 files, which
//! are created when they are first needed.
//!
//! If a lock file were removed, a process that waits for its lock and a process that creates the
//! file again would both get a lock. So the files stay, unless the driver is configured to remove
//! them when it is dropped. It then removes each under its exclusive lock, and every process checks
//! after taking a lock that the file still exists.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use storage_core::{Key, Result};

use super::errno::{os_error, state_dir_error};
use super::root::{RESERVED, Root};
use super::state_dir::{self, LOCKS, MAX_ATTEMPTS};
use crate::errors;
use crate::names::lock_file_name;

const FILE_MODE: u32 = 0o600;

/// How long to wait for a lock (30 s). A process holds a lock for moments, unless it is stopped.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether others may hold the same lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockMode {
    Shared,
    Exclusive,
}

/// The lock files of a root.
#[derive(Debug)]
pub(crate) struct Locks {
    root: Arc<Root>,
    directory: Mutex<Option<Arc<OwnedFd>>>,
    remove: bool,
}

/// A lock on a key, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: OwnedFd,
}

impl Locks {
    /// Returns the locks of a root. With `remove`, dropping them removes the lock files.
    pub(crate) fn new(root: Arc<Root>, remove: bool) -> Self {
        let remove = remove && root.local().is_some();
        Self { root, directory: Mutex::new(None), remove }
    }

    /// Locks a key. Returns `None` on a file system without locks.
    ///
    /// Blocks for up to 30 s while another process holds the lock, then fails with `Timeout`.
    pub(crate) fn lock(&self, key: &Key, mode: LockMode) -> Result<Option<Lock>> {
        for _ in 0..MAX_ATTEMPTS {
            let file = self.open(&lock_file_name(key))?;
            match acquire(&file, mode).and_then(|()| self.is_current(&file)) {
                Ok(true) => return Ok(Some(Lock { _file: file })),
                // The file was removed before this process got the lock.
                Ok(false) => {}
                Err(Errno::NOLCK | Errno::NOTSUP | Errno::INVAL) => return Ok(None),
                Err(errno) => return Err(os_error(errno, "locking the object")),
            }
        }
        Err(errors::directory_removed())
    }

    /// Locks two keys exclusively. Returns `None` on a file system without locks.
    ///
    /// Takes the locks in the order of their files, so that two calls cannot wait for each other:
    /// nothing else takes a second lock.
    pub(crate) fn lock_both(&self, one: &Key, other: &Key) -> Result<Option<[Option<Lock>; 2]>> {
        let (first, last) = match lock_file_name(one) <= lock_file_name(other) {
            true => (one, other),
            false => (other, one),
        };
        let Some(lock) = self.lock(first, LockMode::Exclusive)? else { return Ok(None) };
        if lock_file_name(first) == lock_file_name(last) {
            return Ok(Some([Some(lock), None]));
        }
        let second = self.lock(last, LockMode::Exclusive)?;
        Ok(second.map(|second| [Some(lock), Some(second)]))
    }

    /// Returns whether a locked file is still the one that other processes open. Lock files are
    /// removed only on local file systems; others may not report the number of links.
    fn is_current(&self, file: &OwnedFd) -> Result<bool, Errno> {
        if self.root.local().is_none() { Ok(true) } else { is_linked(file) }
    }

    fn open(&self, name: &str) -> Result<OwnedFd> {
        for _ in 0..MAX_ATTEMPTS {
            let directory = self.directory()?;
            match open_or_create(&directory, name) {
                // Another process removed the directory.
                Err(Errno::NOENT) => {
                    *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                opened => return opened.map_err(state_dir_error),
            }
        }
        Err(errors::directory_removed())
    }

    fn directory(&self) -> Result<Arc<OwnedFd>> {
        let mut opened = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*opened {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(state_dir::open_directory(&self.root, LOCKS)?.directory);
        *opened = Some(Arc::clone(&directory));
        Ok(directory)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        let directory = self.directory.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(directory) = directory.filter(|_| self.remove) else { return };
        // A file that cannot be removed stays, as without this option.
        for entry in Dir::read_from(&*directory).into_iter().flatten().flatten() {
            let _ = remove_unless_held(&directory, entry.file_name());
        }
        for path in [LOCKS, RESERVED] {
            let (outer, name) = path.rsplit_once('/').unwrap_or(("", path));
            if let Ok(outer) = self.root.open_directory(outer) {
                let _ = fs::unlinkat(&outer, name, AtFlags::REMOVEDIR);
            }
        }
    }
}

fn remove_unless_held(directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::openat(directory, name, flags, Mode::empty())?;
    fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // Since the file was opened, another process may have removed it and created a new one.
    if is_linked(&file)? { fs::unlinkat(directory, name, AtFlags::empty()) } else { Ok(()) }
}

fn is_linked(file: &OwnedFd) -> Result<bool, Errno> {
    Ok(fs::fstat(file)?.st_nlink > 0)
}

fn open_or_create(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    // NFS needs a writable file for an exclusive lock.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = || fs::openat(directory, name, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match fs::openat(
        directory,
        name,
        flags | OFlags::CREATE | OFlags::EXCL,
        Mode::from_raw_mode(FILE_MODE),
    ) {
        Ok(file) => {
            // The umask may have removed bits.
            fs::fchmod(&file, Mode::from_raw_mode(FILE_MODE))?;
            state_dir::chown_from_root(&file, fs::fstat(directory)?.st_uid);
            Ok(file)
        }
        // Another process was faster.
        Err(Errno::EXIST) => open(),
        Err(errno) => Err(errno),
    }
}

/// Waits for the lock on an open file. Fails with `WOULDBLOCK` after [`LOCK_TIMEOUT`].
fn acquire(file: &OwnedFd, mode: LockMode) -> Result<(), Errno> {
    let operation = match mode {
        LockMode::Shared => FlockOperation::NonBlockingLockShared,
        LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        match fs::flock(file, operation) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < LOCK_TIMEOUT => {}
            Err(Errno::INTR) => continue,
            locked => return locked,
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}
