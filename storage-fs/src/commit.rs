//! The moment in which a staged file becomes an object.
//!
//! Every change of a directory's objects happens under a lock (`flock`) on that directory: shared for changes that
//! the file system itself makes atomic, exclusive where something has to be compared first (`if_match`) or a sidecar
//! goes along. The locks hold between processes. Where a file system has none, `if_match` is refused.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, Stat};
use rustix::io::Errno;
use storage_core::{Checksums, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, SaveMode, keys};

use crate::blocking::Waiting;
use crate::driver::Shared;
use crate::errors;
use crate::metadata::{self, Kept, Record};
use crate::open;
use crate::root::{Made, is_directory, is_linked, is_regular, lock, remove_if_empty};
use crate::staged::Staged;
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
        let version = Version::of(&stat);
        let record = Record::new(&version, staged.id(), self.metadata, &self.checksums);
        let etag = record.etag()?;
        let kept = metadata::keep(self.fs.metadata, &staged, version.inode, record)?;
        let mode = Mode::from_raw_mode(self.fs.file_mode);
        if Mode::from_raw_mode(stat.st_mode) != mode {
            // The umask has taken bits away, or staging needed more.
            fs::fchmod(staged.fd(), mode).map_err(doing)?;
        }
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
                    if made.is_new {
                        // Pruning needs the lock.
                        drop(made);
                        self.fs.root.prune(self.key);
                    }
                    return Err(error);
                }
            }
        }
        Err(errors::removed())
    }

    fn make_parent(&self) -> Result<Made, Errno> {
        self.fs.root.make_parent(self.key)
    }

    /// `None` if the directory is no longer part of the tree.
    fn place_in(&self, directory: &OwnedFd, staged: &mut Staged, kept: &Kept) -> Result<Option<Key>> {
        self.lock(directory, kept)?;
        // A sidecar must not be touched under the lock of a directory that another one has taken the place of.
        let looking = |errno| errors::os(errno, "looking the directory up");
        if matches!(kept, Kept::ForSidecar(_)) && !is_linked(directory).map_err(looking)? {
            return Ok(None);
        }
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
        let alone = compares || matches!(kept, Kept::ForSidecar(_));
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
        if let Kept::InFile = kept {
            // As a rule there is nothing, and the shorter way will do.
            match staged.place_new(directory.as_fd(), self.key.name()) {
                Err(Errno::EXIST) => {}
                renamed => return placed(renamed, self.key),
            }
        }
        let present = look(directory, self.key)?;
        if let Some(stat) = &present {
            make_way(directory, self.key, stat)?;
        }
        staged.give_name(&self.fs.staging)?;
        let rename = || staged.place_over(directory.as_fd(), self.key.name());
        placed(self.put(self.key, kept, present.as_ref(), rename)?, self.key)
    }

    /// Takes a place where nothing is.
    fn place_new(&self, directory: &OwnedFd, key: &Key, staged: &mut Staged, kept: &Kept) -> Result<Option<Key>> {
        for _ in 0..MAX_TRIES {
            // A sidecar is not to be written in vain.
            if matches!(kept, Kept::ForSidecar(_)) {
                make_free(directory, key)?;
            }
            match self.put(key, kept, None, || staged.place_new(directory.as_fd(), key.name()))? {
                Err(Errno::EXIST) => make_free(directory, key)?,
                renamed => return placed(renamed, key),
            }
        }
        Err(errors::already_exists())
    }

    /// Puts the record beside the object, where it has to be, and the object in its place.
    fn put<F>(&self, key: &Key, kept: &Kept, present: Option<&Stat>, rename: F) -> Result<Result<(), Errno>>
    where
        F: FnOnce() -> Result<(), Errno>,
    {
        let Kept::ForSidecar(new) = kept else { return Ok(rename()) };
        let old = present.map(|stat| metadata::in_sidecar(self.fs, key, stat)).transpose()?.flatten();
        let renamed = metadata::write_sidecar(self.fs, key, new, old.as_ref()).map(|()| rename());
        // Else it has one for nothing. (If it is the directory that has gone, so has our right to touch it.)
        if old.is_none() && !matches!(renamed, Ok(Ok(()) | Err(Errno::NOENT))) {
            metadata::remove_sidecar(self.fs, key);
        }
        renamed
    }

    fn sync(&self, made: &Made) -> Result<()> {
        let synced = self.fs.root.sync(made);
        synced.map_err(|errno| errors::os(errno, "the object is in its place, but its directory was not synced"))
    }
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
    match remove_if_empty(directory, key.name()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => Err(errors::is_a_directory()),
    }
}

/// As [`make_way`], if not even an object may be there. Nothing at all is well, too: somebody has deleted it.
fn make_free(directory: &OwnedFd, key: &Key) -> Result<()> {
    match look(directory, key)? {
        Some(stat) if is_regular(&stat) => Err(errors::already_exists()),
        Some(stat) => make_way(directory, key, &stat),
        None => Ok(()),
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
