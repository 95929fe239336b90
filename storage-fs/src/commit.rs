//! The moment in which a staged file becomes an object.
//!
//! Every change of a directory's objects happens under a lock (`flock`) on that directory: shared for changes that
//! the file system itself makes atomic, exclusive where something has to be compared first (`if_match`) or a sidecar
//! goes along. The locks hold between processes. Where a file system has none, `if_match` is refused.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FlockOperation, Mode, Stat};
use rustix::io::Errno;
use storage_core::{Checksums, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, SaveMode, keys};

use crate::blocking::Waiting;
use crate::driver::Shared;
use crate::errors;
use crate::metadata::{self, Kept, Record};
use crate::open;
use crate::root::{Made, is_directory, is_regular};
use crate::staging::Staged;
use crate::version::{Version, precise_times};

/// How often a directory may be pruned under our hands before we give up.
const MAX_TRIES: usize = 100;

/// A staged file with all that it needs to become an object.
pub(crate) struct Commit<'a> {
    pub(crate) fs: &'a Shared,
    pub(crate) key: &'a Key,
    pub(crate) mode: &'a SaveMode,
    pub(crate) metadata: &'a Metadata,
    pub(crate) checksums: Checksums,
    pub(crate) waiting: &'a Waiting,
}

impl Commit<'_> {
    /// Makes the staged file the object, or leaves everything as it was.
    pub(crate) fn run(self, mut staged: Staged) -> Result<ObjectMeta> {
        let doing = |errno| errors::os(errno, "finishing the file");
        fs::futimens(staged.fd(), &precise_times()).map_err(doing)?;
        let stat = fs::fstat(staged.fd()).map_err(doing)?;
        let mode = Mode::from_raw_mode(self.fs.file_mode);
        if Mode::from_raw_mode(stat.st_mode) != mode {
            // The umask has taken bits away.
            fs::fchmod(staged.fd(), mode).map_err(doing)?;
        }
        let version = Version::of(&stat);
        let record = Record::new(&version, staged.id(), self.metadata, &self.checksums);
        let etag = record.etag()?;
        let kept = metadata::keep(self.fs.metadata, &staged, version.inode, record)?;
        if self.fs.durable {
            staged.sync()?;
        }
        let key = self.place(&mut staged, &kept)?;
        let mut meta = ObjectMeta::new(key, version.size);
        meta.etag = Some(etag);
        meta.last_modified = Some(version.modified_time());
        meta.metadata = self.metadata.clone();
        meta.checksums = self.checksums;
        Ok(meta)
    }

    fn place(&self, staged: &mut Staged, kept: &Kept) -> Result<Key> {
        for _ in 0..MAX_TRIES {
            let made = match self.make_parent() {
                Ok(made) => made,
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    self.fs.root.prune(self.key);
                    return Err(errors::os(errno, "making the directory for the object"));
                }
            };
            match self.place_in(&made.directory, staged, kept) {
                // The directory was removed, empty as it was, after we had opened it.
                Ok(None) => {}
                Ok(Some(key)) => return self.sync(&made).map(|()| key),
                Err(error) => {
                    if !made.grown.is_empty() {
                        self.fs.root.prune(self.key);
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::new(ErrorKind::Unexpected, "the object's directory, or the root, was removed again and again")
            .with_retryable(true))
    }

    fn make_parent(&self) -> Result<Made, Errno> {
        self.fs.root.make_parent(self.key)
    }

    /// `None` if the directory is no longer part of the tree.
    fn place_in(&self, directory: &OwnedFd, staged: &mut Staged, kept: &Kept) -> Result<Option<Key>> {
        self.lock(directory, kept)?;
        if let SaveMode::IfMatch(wanted) = self.mode {
            open::check_version(self.fs, self.key, wanted)?;
        }
        self.waiting.check()?;
        match self.mode {
            SaveMode::CreateNew => self.place_new(directory, self.key, staged, kept),
            SaveMode::UniqueName => {
                let mut key = self.key.clone();
                loop {
                    match self.place_new(directory, &key, staged, kept) {
                        Err(error) if is_taken(&error) => key = keys::alternative(self.key)?,
                        placed => return placed,
                    }
                }
            }
            _ => self.place_over(directory, staged, kept),
        }
    }

    fn lock(&self, directory: &OwnedFd, kept: &Kept) -> Result<()> {
        let compares = matches!(self.mode, SaveMode::IfMatch(_));
        let alone = compares || matches!(kept, Kept::ForSidecar { .. });
        match lock(directory, alone) {
            Err(Errno::NOLCK | Errno::NOTSUP | Errno::INVAL) if !compares => Ok(()),
            Err(Errno::NOLCK | Errno::NOTSUP | Errno::INVAL) => {
                Err(Error::unsupported("this file system has no locks, which if_match needs"))
            }
            locked => locked.map_err(|errno| errors::os(errno, "locking the directory")),
        }
    }

    /// Replaces whatever file is there.
    fn place_over(&self, directory: &OwnedFd, staged: &mut Staged, kept: &Kept) -> Result<Option<Key>> {
        let present = look(directory, self.key)?;
        if let Some(stat) = &present {
            make_way(directory, self.key, stat)?;
        }
        self.keep_beside(self.key, kept, present.as_ref())?;
        placed(staged.rename_to(directory.as_fd(), self.key.name()), self.key)
    }

    /// Takes a place where nothing is.
    fn place_new(&self, directory: &OwnedFd, key: &Key, staged: &mut Staged, kept: &Kept) -> Result<Option<Key>> {
        for _ in 0..MAX_TRIES {
            if matches!(kept, Kept::ForSidecar { .. }) && look(directory, key)?.is_some_and(|stat| is_regular(&stat)) {
                return Err(errors::already_exists());
            }
            self.keep_beside(key, kept, None)?;
            match staged.rename_to_new(directory.as_fd(), key.name()) {
                Err(Errno::EXIST) => match look(directory, key)? {
                    Some(stat) if is_regular(&stat) => return Err(errors::already_exists()),
                    Some(stat) => make_way(directory, key, &stat)?,
                    // Gone again: somebody has deleted it.
                    None => {}
                },
                renamed => return placed(renamed, key),
            }
        }
        Err(errors::already_exists())
    }

    fn keep_beside(&self, key: &Key, kept: &Kept, present: Option<&Stat>) -> Result<()> {
        match kept {
            Kept::InFile => Ok(()),
            Kept::ForSidecar { inode, record } => metadata::write_sidecar(self.fs, key, *inode, record, present),
        }
    }

    fn sync(&self, made: &Made) -> Result<()> {
        if !self.fs.durable {
            return Ok(());
        }
        let directories = std::iter::once(&made.directory).chain(made.grown.iter().rev());
        for directory in directories {
            let synced = fs::fsync(directory);
            synced
                .map_err(|errno| errors::os(errno, "the object is in its place, but its directory was not synced"))?;
        }
        Ok(())
    }
}

/// Locks a directory for the lifetime of its file descriptor, which must be the caller's own.
pub(crate) fn lock(directory: &OwnedFd, alone: bool) -> Result<(), Errno> {
    let operation = if alone { FlockOperation::LockExclusive } else { FlockOperation::LockShared };
    rustix::io::retry_on_intr(|| fs::flock(directory, operation))
}

fn look(directory: &OwnedFd, key: &Key) -> Result<Option<Stat>> {
    match fs::statat(directory, key.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errors::os(errno, "looking the file up")),
    }
}

/// Removes what is no object from an object's place, if that is an empty directory; anything else is a conflict.
fn make_way(directory: &OwnedFd, key: &Key, present: &Stat) -> Result<()> {
    if is_regular(present) {
        return Ok(());
    }
    if !is_directory(present) {
        return Err(errors::in_the_way());
    }
    match fs::unlinkat(directory, key.name(), AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => Err(errors::is_a_directory()),
    }
}

fn is_taken(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict)
}

fn placed(renamed: Result<(), Errno>, key: &Key) -> Result<Option<Key>> {
    match renamed {
        Ok(()) => Ok(Some(key.clone())),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::ISDIR | Errno::NOTEMPTY) => Err(errors::is_a_directory()),
        Err(errno) => Err(errors::os(errno, "renaming the file into place")),
    }
}
