//! Staging: files that are not visible yet, in `.anystorage/staging`, and the sweeping of what a killed process
//! has left there.
//!
//! Invariant: a file in the staging directory belongs to a living [`Staged`], or to a process that was killed. While
//! a stream is being received, its file is locked (`flock`), so that a sweep can tell the two apart; files that
//! are staged in one go live for moments and are told apart by their age.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::fs::{self, AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use storage_core::{Result, keys};

use crate::errors;
use crate::root::{RESERVED, Root};

const STAGING: &str = ".anystorage/staging";
pub(crate) const META: &str = ".anystorage/meta";

/// Our own directories are nobody else's business: an unfinished upload is not to be served.
const OWN_MODE: u32 = 0o700;

/// How old debris has to be before it is swept.
const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);

/// What tells one staged file from all others, here and elsewhere: 80 random bits.
pub(crate) type Id = [u8; 10];

/// Lower-case hexadecimal: a staged file's name, an ETag's text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The staging directory of a root, made when it is first needed.
#[derive(Debug)]
pub(crate) struct Staging {
    root: Arc<Root>,
    opened: Mutex<Option<Opened>>,
}

#[derive(Debug, Clone)]
struct Opened {
    directory: Arc<OwnedFd>,
    swept: Instant,
}

impl Staging {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root, opened: Mutex::new(None) }
    }

    /// The open directory of sidecars.
    pub(crate) fn meta_directory(&self) -> Result<OwnedFd> {
        self.make(META)
    }

    fn make(&self, path: &str) -> Result<OwnedFd> {
        let made = self.root.make_directory(path, OWN_MODE);
        made.map(|made| made.directory).map_err(|errno| errors::os(errno, "making the directory .anystorage"))
    }

    /// The open staging directory; swept when it is opened, and once an hour after.
    fn directory(&self) -> Result<Arc<OwnedFd>> {
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

    fn forget(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Removes debris that is older than `age`; answers how many files.
    pub(crate) fn sweep(&self, age: Duration) -> Result<usize> {
        match self.root.open_directory(STAGING) {
            Ok(directory) => {
                sweep(&directory, age).map_err(|errno| errors::os(errno, "sweeping the staging directory"))
            }
            Err(errno) if errors::means_absent(errno) => Ok(0),
            Err(errno) => Err(errors::os(errno, "opening the staging directory")),
        }
    }
}

/// Removes our directory where it is empty, so that nothing of ours stays below a root that was used once, by a
/// command say. Whoever needs it makes it again.
impl Drop for Staging {
    fn drop(&mut self) {
        let used = self.opened.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if let (true, Ok(root)) = (used, self.root.open_directory("")) {
            for own in [STAGING, META, RESERVED] {
                let _ = fs::unlinkat(&root, own, AtFlags::REMOVEDIR);
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
        if is_debris(directory, name, age) && fs::unlinkat(directory, name, AtFlags::empty()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_debris(directory: &OwnedFd, name: &std::ffi::CStr, age: Duration) -> bool {
    let Ok(stat) = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between systems")]
    let changed = UNIX_EPOCH + Duration::from_secs((stat.st_ctime as i64).max(0).unsigned_abs());
    let is_old = SystemTime::now().duration_since(changed).is_ok_and(|since| since >= age);
    is_old && crate::root::is_regular(&stat) && !is_locked(directory, name)
}

fn is_locked(directory: &OwnedFd, name: &std::ffi::CStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err(),
        Err(_) => false,
    }
}

/// A file that is not visible yet. Dropped without having been renamed, it is removed.
#[derive(Debug)]
pub(crate) struct Staged {
    file: Option<File>,
    directory: Arc<OwnedFd>,
    id: Id,
    name: String,
    /// Whether it still has its staging name.
    is_staged: bool,
}

impl Staged {
    /// Makes an empty one. Nobody else gets at it, whatever its mode: the directory is closed to others.
    pub(crate) fn create(staging: &Staging, mode: u32) -> Result<Self> {
        let id: Id = keys::random_bytes()?;
        let name = hex(&id);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut last = Errno::NOENT;
        // The directory may have been removed, empty as it was, by another process that is done with it.
        for _ in 0..16 {
            let directory = staging.directory()?;
            match fs::openat(&*directory, &*name, flags, Mode::from_raw_mode(mode)) {
                Ok(file) => return Ok(Self { file: Some(file.into()), directory, id, name, is_staged: true }),
                Err(Errno::NOENT) => staging.forget(),
                Err(errno) => {
                    last = errno;
                    break;
                }
            }
        }
        Err(errors::os(last, "staging the object"))
    }

    /// Marks the file as alive for sweeps, for as long as it may take.
    pub(crate) fn lock(&self) {
        // Where locks do not work, the age guards alone.
        let _ = fs::flock(self.fd(), FlockOperation::NonBlockingLockExclusive);
    }

    /// What no other staged file ever has.
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match &self.file {
            Some(file) => file.as_fd(),
            // The file is taken out by `drop` alone.
            None => self.directory.as_fd(),
        }
    }

    pub(crate) fn file(&mut self) -> Result<&mut File> {
        self.file.as_mut().ok_or_else(|| errors::os(Errno::BADF, "writing the object"))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.file()?.write_all(bytes)?)
    }

    /// Writes chunks that came one by one in as few calls as possible.
    pub(crate) fn write_chunks(&mut self, chunks: &[Bytes]) -> Result<()> {
        if let [chunk] = chunks {
            return self.write(chunk);
        }
        let mut slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut slices = &mut slices[..];
        let file = self.file()?;
        while !slices.is_empty() {
            match file.write_vectored(slices) {
                Ok(0) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        fs::fsync(self.fd()).map_err(|errno| errors::os(errno, "syncing the file"))
    }

    /// Moves the file to its place, over whatever file is there.
    pub(crate) fn rename_to(&mut self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        fs::renameat(&*self.directory, &*self.name, directory, name)?;
        self.is_staged = false;
        Ok(())
    }

    /// Moves the file to its place, if nothing is there: `EXIST` if something is, decided by the file system.
    pub(crate) fn rename_to_new(&mut self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        match fs::renameat_with(&*self.directory, &*self.name, directory, name, RenameFlags::NOREPLACE) {
            // Not every file system has it; a link is as exclusive.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                fs::linkat(&*self.directory, &*self.name, directory, name, AtFlags::empty())?;
                // The staged name is removed by `drop`.
                return Ok(());
            }
            renamed => renamed?,
        }
        self.is_staged = false;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.is_staged {
            let _ = fs::unlinkat(&*self.directory, &*self.name, AtFlags::empty());
        }
        // Closing the last handle of a removed file frees its blocks, which can take long for a large one.
        if let (true, Some(file), Ok(runtime)) =
            (self.is_staged, self.file.take(), tokio::runtime::Handle::try_current())
        {
            drop(runtime.spawn_blocking(move || drop(file)));
        }
    }
}
