//! The moment in which a staged file becomes an object.
//!
//! A file whose metadata is inside it takes a free place without a lock. Everything else happens
//! under the key's lock: see [`crate::locks`]. Where a file system has no locks, `if_match` is
//! refused.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, Stat};
use rustix::io::Errno;
use storage_core::{
    Checksums, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, SaveMode, keys,
};

use crate::blocking::Waiting;
use crate::config::CreateMode;
use crate::driver::Shared;
use crate::errors;
use crate::locks::{Access, Lock};
use crate::metadata::{self, Entry, Kept, Record};
use crate::open;
use crate::root::{Made, is_directory, is_regular, remove_if_empty};
use crate::staged::Staged;
use crate::version::{Version, precise_times};

/// How often other processes may remove the object's directory before the save fails.
const MAX_TRIES: usize = 1000;

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
        if let Some(mode) = self.mode_for(&staged, &stat)? {
            fs::fchmod(staged.fd(), Mode::from_raw_mode(mode)).map_err(doing)?;
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

    /// Returns the permission bits to set on the staged file, unless it has the right ones.
    fn mode_for(&self, staged: &Staged, stat: &Stat) -> Result<Option<u32>> {
        let mode = match self.fs.file_mode {
            // The umask may have taken bits away, or staging needed more.
            CreateMode::Exact(mode) => mode,
            CreateMode::Umask => match self.mode {
                SaveMode::CreateNew | SaveMode::UniqueName => return Ok(None),
                _ => match self.fs.root.look(self.key)?.filter(is_regular) {
                    Some(present) => mode_of_successor(staged, stat, &present),
                    None => return Ok(None),
                },
            },
        };
        Ok((Mode::from_raw_mode(stat.st_mode) != Mode::from_raw_mode(mode)).then_some(mode))
    }

    fn place(&self, staged: &mut Staged, kept: &Kept) -> Result<Key> {
        match self.mode {
            SaveMode::CreateNew => self.place_new(self.key, staged, kept),
            SaveMode::UniqueName => {
                let mut key = self.key.clone();
                loop {
                    match self.place_new(&key, staged, kept) {
                        Err(error) if is_taken(&error) && self.can_have_directory() => {
                            key = keys::alternative(self.key)?;
                        }
                        placed => return placed,
                    }
                }
            }
            SaveMode::IfMatch(wanted) => {
                let Some(_lock) = self.lock(self.key, Access::Exclusive)? else {
                    return Err(Error::unsupported(
                        "this file system has no locks, which if_match needs",
                    ));
                };
                let mut sidecar = Sidecar::new(self.fs, self.key, kept);
                self.in_directory(|directory| {
                    open::check_version(self.fs, self.key, wanted)?;
                    self.replace(directory, staged, &mut sidecar)
                })
            }
            _ => match kept {
                Kept::InFile => self.place_over(staged),
                Kept::ForSidecar(_) => {
                    let _lock = self.lock(self.key, Access::Exclusive)?;
                    let mut sidecar = Sidecar::new(self.fs, self.key, kept);
                    self.in_directory(|directory| self.replace(directory, staged, &mut sidecar))
                }
            },
        }
    }

    /// Returns whether another name beside the key could be free: it could not below a file.
    fn can_have_directory(&self) -> bool {
        !matches!(self.fs.root.open_parent(self.key), Err(Errno::NOTDIR | Errno::LOOP))
    }

    /// Puts the object in its directory, which is made where it is missing, and made again as often
    /// as another process removes it: `put` then returns `NOENT`.
    fn in_directory(
        &self,
        mut put: impl FnMut(&OwnedFd) -> Result<Result<Key, Errno>>,
    ) -> Result<Key> {
        for _ in 0..MAX_TRIES {
            let made = match self.fs.root.make_parent(self.key) {
                Ok(made) => made,
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    self.fs.root.prune(self.key);
                    return Err(errors::os(errno, "making the directory for the object"));
                }
            };
            let placed = match put(&made.directory) {
                Ok(Err(Errno::NOENT)) => continue,
                Ok(placed) => placed.map_err(|errno| match errno {
                    Errno::ISDIR | Errno::NOTEMPTY => errors::is_a_directory(),
                    other => errors::os(other, "renaming the file into place"),
                }),
                Err(error) => Err(error),
            };
            return match placed {
                Ok(key) => self.sync(&made).map(|()| key),
                Err(error) => {
                    if made.is_new {
                        // Pruning needs file descriptors.
                        drop(made);
                        self.fs.root.prune(self.key);
                    }
                    Err(error)
                }
            };
        }
        Err(errors::removed())
    }

    fn lock(&self, key: &Key, access: Access) -> Result<Option<Lock>> {
        self.fs.locks.lock(key, access)
    }

    /// Puts a file that holds its record itself in its place, whatever file is there.
    fn place_over(&self, staged: &mut Staged) -> Result<Key> {
        let mut sidecar = Sidecar::new(self.fs, self.key, &Kept::InFile);
        self.in_directory(|directory| {
            self.waiting.check()?;
            // As a rule there is nothing, and the shorter way will do.
            match staged.place_new(directory.as_fd(), self.key.name()) {
                Err(Errno::EXIST) => {
                    let _lock = self.lock(self.key, Access::Shared)?;
                    self.replace(directory, staged, &mut sidecar)
                }
                placed => Ok(placed.map(|()| self.key.clone())),
            }
        })
    }

    /// Replaces whatever file is there. The caller holds the key's lock.
    fn replace(
        &self,
        directory: &OwnedFd,
        staged: &mut Staged,
        sidecar: &mut Sidecar<'_>,
    ) -> Result<Result<Key, Errno>> {
        // The lock may have been waited for.
        self.waiting.check()?;
        let present = look(directory, self.key)?;
        if let Some(stat) = &present {
            make_way(directory, self.key, stat)?;
        }
        staged.give_name(&self.fs.staging)?;
        sidecar.write(present.as_ref())?;
        let placed = staged.place_over(directory.as_fd(), self.key.name());
        Ok(sidecar.keep_if(placed).map(|()| self.key.clone()))
    }

    /// Takes a place where nothing is.
    fn place_new(&self, key: &Key, staged: &mut Staged, kept: &Kept) -> Result<Key> {
        let _lock = match kept {
            Kept::InFile => None,
            Kept::ForSidecar(_) => self.lock(key, Access::Exclusive)?,
        };
        let mut sidecar = Sidecar::new(self.fs, key, kept);
        self.in_directory(|directory| {
            self.waiting.check()?;
            for _ in 0..MAX_TRIES {
                if matches!(kept, Kept::ForSidecar(_)) {
                    make_free(directory, key)?;
                }
                sidecar.write(None)?;
                match sidecar.keep_if(staged.place_new(directory.as_fd(), key.name())) {
                    Err(Errno::EXIST) => make_free(directory, key)?,
                    placed => return Ok(placed.map(|()| key.clone())),
                }
            }
            Err(errors::already_exists())
        })
    }

    fn sync(&self, made: &Made) -> Result<()> {
        let synced = self.fs.root.sync(made);
        synced.map_err(|errno| {
            errors::os(errno, "the object is in its place, but its directory was not synced")
        })
    }
}

/// The record of a staged file on its way into the key's sidecar. Does nothing for a record that is
/// in the file itself.
///
/// The holder has the key's lock exclusively. Dropped without an object to belong to, the record is
/// removed again.
struct Sidecar<'a> {
    fs: &'a Shared,
    key: &'a Key,
    new: Option<&'a Entry>,
    state: SidecarState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SidecarState {
    Untouched,
    /// It holds the new record alone.
    Written,
    /// It holds the record of the object in place too.
    WrittenBeside,
    /// It belongs to the object in place.
    Kept,
}

impl<'a> Sidecar<'a> {
    fn new(fs: &'a Shared, key: &'a Key, kept: &'a Kept) -> Self {
        let new = match kept {
            Kept::InFile => None,
            Kept::ForSidecar(entry) => Some(&**entry),
        };
        Self { fs, key, new, state: SidecarState::Untouched }
    }

    /// Writes the record beside that of the file in place. Once is enough where there is none: so
    /// the time in which the object's directory is empty, and may be removed, is short.
    fn write(&mut self, present: Option<&Stat>) -> Result<()> {
        let Some(new) = self.new else { return Ok(()) };
        let old = present
            .map(|stat| metadata::in_sidecar(self.fs, self.key, stat))
            .transpose()?
            .flatten();
        if old.is_none() && self.state == SidecarState::Written {
            return Ok(());
        }
        self.state =
            if old.is_none() { SidecarState::Written } else { SidecarState::WrittenBeside };
        metadata::write_sidecar(self.fs, self.key, new, old.as_ref())
    }

    fn keep_if<T>(&mut self, placed: Result<T, Errno>) -> Result<T, Errno> {
        if placed.is_ok() {
            self.state = SidecarState::Kept;
        }
        placed
    }
}

impl Drop for Sidecar<'_> {
    fn drop(&mut self) {
        if self.state == SidecarState::Written {
            metadata::remove_sidecar(self.fs, self.key);
        }
    }
}

/// Gives a staged file the owner and the group of the file that it is to replace, as far as the
/// process may do that. Returns the permission bits of that file; where the group remains another
/// one, it gets no more than others get.
#[allow(clippy::unnecessary_cast, reason = "the field's type differs between systems")]
fn mode_of_successor(staged: &Staged, stat: &Stat, present: &Stat) -> u32 {
    let mode = present.st_mode as u32 & 0o777;
    if (stat.st_uid, stat.st_gid) == (present.st_uid, present.st_gid) {
        return mode;
    }
    let (owner, group) =
        (Some(fs::Uid::from_raw(present.st_uid)), Some(fs::Gid::from_raw(present.st_gid)));
    let given =
        fs::fchown(staged.fd(), owner, group).or_else(|_| fs::fchown(staged.fd(), None, group));
    match given.is_ok() || stat.st_gid == present.st_gid {
        true => mode,
        false => (mode & !0o070) | ((mode & 0o007) << 3),
    }
}

fn look(directory: &OwnedFd, key: &Key) -> Result<Option<Stat>> {
    match fs::statat(directory, key.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errors::os(errno, "looking the file up")),
    }
}

/// Removes what is no object from an object's place, if that is an empty directory; anything else
/// is a conflict.
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

/// As [`make_way`], if not even an object may be there. Nothing at all is well, too: somebody has
/// deleted it.
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
