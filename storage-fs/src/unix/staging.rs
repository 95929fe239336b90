//! The directory `.anystorage/staging`, and removing the files that killed processes left in it.
//!
//! Invariant: each file in the staging directory belongs to a living
//! [`Staged`](super::staged::Staged) or to a killed process. A sweep distinguishes them by a lock
//! (`flock`), which a file holds while its stream is received. Other staged files exist only for a
//! moment, so a sweep distinguishes them by their age.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{self, AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use storage_core::{Key, Result};

use super::errno::{means_absent, os_error, state_dir_error};
use super::root::{RESERVED, Root, is_regular};
use super::state_dir::{self, META, STAGING};
use super::unnamed::{UnnamedFile, UnnamedFiles};
use super::version::time;

/// The minimum age of a file that a sweep removes (1 h).
pub(crate) const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);

/// The staging directory of a root, created when it is first needed.
#[derive(Debug)]
pub(crate) struct Staging {
    root: Arc<Root>,
    opened: Mutex<Option<Opened>>,
    unnamed_files: UnnamedFiles,
}

#[derive(Debug, Clone)]
struct Opened {
    directory: Arc<OwnedFd>,
    swept: Instant,
}

impl Staging {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root, opened: Mutex::new(None), unnamed_files: UnnamedFiles::default() }
    }

    /// Opens the directory of sidecars, and creates it if it is missing.
    pub(crate) fn meta_directory(&self) -> Result<OwnedFd> {
        // If it exists, `.anystorage` was checked when the key was locked.
        match self.root.open_directory(META) {
            Ok(directory) => Ok(directory),
            Err(_) => self.create(META),
        }
    }

    /// Opens or creates a directory, and syncs new ancestors: a sidecar is durable only if the
    /// directories above it are.
    fn create(&self, path: &str) -> Result<OwnedFd> {
        let prepared = state_dir::open_directory(&self.root, path)?;
        if prepared.is_new {
            self.root.sync(&prepared).map_err(state_dir_error)?;
        }
        Ok(prepared.directory)
    }

    /// Returns the open staging directory. Sweeps it when it is opened, and then at most once an
    /// hour.
    pub(crate) fn directory(&self) -> Result<Arc<OwnedFd>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Opened { directory, swept }) = &*opened
            && swept.elapsed() < SWEEP_AGE
        {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(self.create(STAGING)?);
        if let Err(errno) = sweep(&directory, SWEEP_AGE) {
            tracing::debug!(
                root = %self.root.path().display(), %errno,
                "the staging directory could not be swept"
            );
        }
        *opened = Some(Opened { directory: Arc::clone(&directory), swept: Instant::now() });
        Ok(directory)
    }

    /// Opens an unnamed empty file. Returns `None` if the system has no unnamed files.
    ///
    /// The file is created in the object's directory if that exists, because file systems allocate
    /// the files of a directory near each other.
    pub(crate) fn open_unnamed(&self, key: &Key, mode: u32) -> Result<Option<UnnamedFile>, Errno> {
        self.unnamed_files.open(self.root.open_parent(key).ok(), self.root.directory(), mode)
    }

    /// Closes the staging directory, so that the next use creates it again. Call it when the
    /// directory was removed.
    pub(crate) fn reset(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes files of killed processes that are older than `age`. Returns their number.
    pub(crate) fn sweep(&self, age: Duration) -> Result<usize> {
        match self.root.open_directory(STAGING) {
            Ok(directory) => sweep(&directory, age)
                .map_err(|errno| os_error(errno, "sweeping the staging directory")),
            Err(errno) if means_absent(errno) => Ok(0),
            Err(errno) => Err(os_error(errno, "opening the staging directory")),
        }
    }
}

/// Removes the driver's own directories that are empty, so that a short use of a root leaves none
/// of them. Another driver that needs them creates them again.
impl Drop for Staging {
    fn drop(&mut self) {
        let used = self.opened.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !used {
            return;
        }
        // Each is removed by its name in an open directory. A path could lead through a symlink.
        for path in [STAGING, META, RESERVED] {
            let (outer, name) = path.rsplit_once('/').unwrap_or(("", path));
            if let Ok(outer) = self.root.open_directory(outer) {
                let _ = fs::unlinkat(&outer, name, AtFlags::REMOVEDIR);
            }
        }
    }
}

fn sweep(directory: &OwnedFd, age: Duration) -> Result<usize, Errno> {
    let mut removed = 0;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        if is_debris(directory, name, age)
            && fs::unlinkat(directory, name, AtFlags::empty()).is_ok()
        {
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_debris(directory: &OwnedFd, name: &std::ffi::CStr, age: Duration) -> bool {
    let Ok(stat) = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between systems")]
    let changed = time(stat.st_ctime as i64, 0);
    let is_old = SystemTime::now().duration_since(changed).is_ok_and(|since| since >= age);
    is_old && is_regular(&stat) && !is_locked(directory, name)
}

fn is_locked(directory: &OwnedFd, name: &std::ffi::CStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match fs::openat(directory, name, flags, Mode::empty()) {
        // Without locks, the minimum age alone decides.
        Ok(file) => {
            fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        }
        // If the file cannot be opened, for example because of too many open files, its process
        // may be alive.
        Err(_) => true,
    }
}
