//! The directory `.anystorage/staging`, and the sweeping of what a killed process has left there.
//!
//! Invariant: a file in the staging directory belongs to a living
//! [`Staged`](crate::staged::Staged), or to a process that was killed. While a stream is being
//! received, its file is locked (`flock`), so that a sweep can tell the two apart; files that are
//! staged in one go live for moments and are told apart by their age.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{self, AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use storage_core::{Key, Result};

use crate::errors;
use crate::own::{self, META, STAGING};
use crate::root::{RESERVED, Root};
use crate::unnamed::{Naming, Unnamed};
use crate::version::time;

/// How old debris has to be before it is swept.
pub(crate) const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);

/// The staging directory of a root, made when it is first needed.
#[derive(Debug)]
pub(crate) struct Staging {
    root: Arc<Root>,
    opened: Mutex<Option<Opened>>,
    unnamed: Unnamed,
}

#[derive(Debug, Clone)]
struct Opened {
    directory: Arc<OwnedFd>,
    swept: Instant,
}

impl Staging {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root, opened: Mutex::new(None), unnamed: Unnamed::default() }
    }

    /// Opens the directory of sidecars, and creates it if it is missing.
    pub(crate) fn meta_directory(&self) -> Result<OwnedFd> {
        // As a rule it is there, and `.anystorage` has been checked when the key was locked.
        match self.root.open_directory(META) {
            Ok(directory) => Ok(directory),
            Err(_) => self.make(META),
        }
    }

    /// A sidecar is on the disk only when the way to it is.
    fn make(&self, path: &str) -> Result<OwnedFd> {
        let made = own::open_directory(&self.root, path)?;
        if made.is_new {
            self.root.sync(&made).map_err(errors::own_directory)?;
        }
        Ok(made.directory)
    }

    /// The open staging directory; swept when it is opened, and once an hour after.
    pub(crate) fn directory(&self) -> Result<Arc<OwnedFd>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Opened { directory, swept }) = &*opened
            && swept.elapsed() < SWEEP_AGE
        {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(self.make(STAGING)?);
        if let Err(errno) = sweep(&directory, SWEEP_AGE) {
            tracing::debug!(root = %self.root.path().display(), %errno, "the staging directory could not be swept");
        }
        *opened = Some(Opened { directory: Arc::clone(&directory), swept: Instant::now() });
        Ok(directory)
    }

    /// Opens an empty file without a name, and tells how to name it; `None` where that cannot be
    /// done.
    ///
    /// In the directory where it is to go, if that is there already: file systems put on the disk
    /// side by side what is made in one directory.
    pub(crate) fn open_unnamed(
        &self,
        key: &Key,
        mode: u32,
    ) -> Result<Option<(OwnedFd, Naming)>, Errno> {
        self.unnamed.open(self.root.open_parent(key).ok(), self.root.directory(), mode)
    }

    /// To be called when the staging directory turns out to be gone.
    pub(crate) fn forget(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes debris that is older than `age`; answers how many files.
    pub(crate) fn sweep(&self, age: Duration) -> Result<usize> {
        match self.root.open_directory(STAGING) {
            Ok(directory) => sweep(&directory, age)
                .map_err(|errno| errors::os(errno, "sweeping the staging directory")),
            Err(errno) if errors::means_absent(errno) => Ok(0),
            Err(errno) => Err(errors::os(errno, "opening the staging directory")),
        }
    }
}

/// Removes our directory where it is empty, so that nothing of ours stays below a root that was
/// used once, by a command say. Whoever needs it makes it again.
impl Drop for Staging {
    fn drop(&mut self) {
        let used = self.opened.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !used {
            return;
        }
        // Each by its name in an open directory: by a path, a link that was put in the way would be
        // followed.
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
    is_old && crate::root::is_regular(&stat) && !is_locked(directory, name)
}

fn is_locked(directory: &OwnedFd, name: &std::ffi::CStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match fs::openat(directory, name, flags, Mode::empty()) {
        // Where locks do not work, the age guards alone.
        Ok(file) => {
            fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        }
        // Too many open files, say: it may well be alive.
        Err(_) => true,
    }
}
