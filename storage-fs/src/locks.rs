//! Locks on keys, which hold between the tasks, drivers and processes that use one root.
//!
//! - A step that puts a file where nothing is needs no lock: the file system decides who is first.
//! - A step that replaces or removes an object takes the key's lock shared.
//! - A step that has to compare first (`if_match`), or that writes a sidecar beside the object, takes it exclusively.
//!
//! The locks are `flock` on files in `.anystorage/locks`, which no other user can open: a user who can open a
//! file can hold a lock on it without a limit. A key's lock is one of 64 files, which are created when they are first
//! needed.
//!
//! A process that waits for the lock of a removed file and one that creates the file again would both get a lock. So the files
//! stay, unless the driver is set up to remove them when it is dropped. It then removes each under its exclusive lock, and every
//! lock is checked, once it is held, to be that of a file that is still there.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use storage_core::{Key, Result};

use crate::errors;
use crate::own::{self, LOCKS, MAX_TRIES};
use crate::root::{RESERVED, Root};

/// The number of lock files. A power of two.
const STRIPES: u64 = 64;

const FILE_MODE: u32 = 0o600;

/// How long to wait for a lock. Processes hold them for moments, but a process may be stopped.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
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
    /// Returns the locks of a root; with `remove`, those whose files are removed when it is dropped.
    pub(crate) fn new(root: Arc<Root>, remove: bool) -> Self {
        let remove = remove && root.local().is_some();
        Self { root, directory: Mutex::new(None), remove }
    }

    /// Locks a key. Returns `None` on a file system that has no locks.
    ///
    /// Blocks for up to 30 s while another process holds the lock, then fails with `Timeout`.
    pub(crate) fn lock(&self, key: &Key, access: Access) -> Result<Option<Lock>> {
        for _ in 0..MAX_TRIES {
            let file = self.open(&stripe(key))?;
            match wait(&file, access).and_then(|()| self.is_current(&file)) {
                Ok(true) => return Ok(Some(Lock { _file: file })),
                // Removed while this process waited for it, or before.
                Ok(false) => {}
                Err(Errno::NOLCK | Errno::NOTSUP | Errno::INVAL) => return Ok(None),
                Err(errno) => return Err(errors::os(errno, "locking the object")),
            }
        }
        Err(errors::removed())
    }

    /// Returns whether a locked file is still the one that other processes open. Lock files are removed on local file
    /// systems alone; others may report no number of links.
    fn is_current(&self, file: &OwnedFd) -> Result<bool, Errno> {
        if self.root.local().is_none() { Ok(true) } else { is_there(file) }
    }

    fn open(&self, name: &str) -> Result<OwnedFd> {
        for _ in 0..MAX_TRIES {
            let directory = self.directory()?;
            match open_or_create(&directory, name) {
                // The directory was removed.
                Err(Errno::NOENT) => {
                    *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = None
                }
                opened => return opened.map_err(errors::own_directory),
            }
        }
        Err(errors::removed())
    }

    fn directory(&self) -> Result<Arc<OwnedFd>> {
        let mut opened = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*opened {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(own::open_directory(&self.root, LOCKS)?.directory);
        *opened = Some(Arc::clone(&directory));
        Ok(directory)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        let directory = self.directory.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(directory) = directory.filter(|_| self.remove) else { return };
        // What cannot be removed stays, as it does without this option.
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
    // Another process may have removed it, and created another of the same name, since it was opened.
    if is_there(&file)? { fs::unlinkat(directory, name, AtFlags::empty()) } else { Ok(()) }
}

fn is_there(file: &OwnedFd) -> Result<bool, Errno> {
    Ok(fs::fstat(file)?.st_nlink > 0)
}

/// The name of a key's lock file. All versions of this crate have to agree on it.
fn stripe(key: &Key) -> String {
    // FNV-1a. ASCII letters count in lower case, for file systems on which `a` and `A` are one file.
    let hash = key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:02x}", (hash ^ (hash >> 32)) % STRIPES)
}

fn open_or_create(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    // For writing too, which NFS needs for exclusive locks.
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
            own::hand_over(&file, fs::fstat(directory)?.st_uid);
            Ok(file)
        }
        // Another process was faster.
        Err(Errno::EXIST) => open(),
        Err(errno) => Err(errno),
    }
}

fn wait(file: &OwnedFd, access: Access) -> Result<(), Errno> {
    let operation = match access {
        Access::Shared => FlockOperation::NonBlockingLockShared,
        Access::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        match fs::flock(file, operation) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => {}
            Err(Errno::INTR) => continue,
            locked => return locked,
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn stripe_of(key: &str) -> String {
        stripe(&Key::new(key).unwrap())
    }

    /// Processes of different versions share a root only if they agree on these names.
    #[test]
    fn the_lock_file_of_a_key_never_changes() {
        assert_eq!(
            [stripe_of("a"), stripe_of("photos/ada.png"), stripe_of("é")],
            ["00", "19", "06"]
        );
        assert_eq!(stripe_of("Photos/ADA.png"), stripe_of("photos/ada.png"));
    }

    #[test]
    fn keys_use_all_the_lock_files() {
        let used: HashSet<_> = (0..1_000).map(|n| stripe_of(&format!("d/{n}"))).collect();
        assert_eq!(used.len() as u64, STRIPES);
    }
}
