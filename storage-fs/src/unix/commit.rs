//! The step that makes a staged file the object.
//!
//! A staged file that contains its record is put in a vacant place without a lock, in the directory
//! that staging opened. Every other step happens under the key's lock: see [`locks`](super::locks).
//! Waiting for a lock may take long, so the directory is opened again after it. On a file system
//! without locks, `if_match` fails with `Unsupported`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, Stat};
use rustix::io::Errno;
use storage_core::{
    Checksums, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, SaveMode, keys,
};

use super::errno::os_error;
use super::locks::{Lock, LockMode};
use super::metadata;
use super::root::{PreparedDir, is_directory, is_regular, remove_if_empty};
use super::shared::Shared;
use super::sidecar::{RecordPlace, SidecarWriter};
use super::staged::Staged;
use super::stat::check_version;
use super::version::{Version, precise_times};
use crate::blocking::CallerAlive;
use crate::errors;
use crate::record::Record;
use crate::settings::{CreateMode, MAX_NAMES};

/// How often other processes may remove the object's directory before the save fails.
pub(crate) const MAX_ATTEMPTS: usize = 1000;

/// The object that a staged file becomes.
pub(crate) struct Commit<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) key: &'a Key,
    pub(crate) mode: &'a SaveMode,
    pub(crate) metadata: &'a Metadata,
    pub(crate) checksums: Checksums,
    pub(crate) caller: &'a CallerAlive,
}

impl Commit<'_> {
    /// Makes the staged file the object. If this fails, nothing has changed, except that the object
    /// may be in its place without its directory having been synced: the error then reports this.
    pub(crate) fn run(self, mut staged: Staged) -> Result<ObjectMeta> {
        let failed = |errno| os_error(errno, "finishing the file");
        fs::futimens(staged.fd(), &precise_times()).map_err(failed)?;
        let stat = fs::fstat(staged.fd()).map_err(failed)?;
        let version = Version::of(&stat);
        let record = Record::new(&version, staged.id(), self.metadata, &self.checksums);
        let etag = record.etag()?;
        let record = metadata::store_record(self.shared.metadata, &staged, version.inode, record)?;
        if let Some(mode) = self.mode_to_set(&staged, &stat)? {
            fs::fchmod(staged.fd(), Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        if self.shared.durable {
            staged.sync()?;
        }
        let key = self.place(&mut staged, &record)?;
        let mut meta = ObjectMeta::new(key, version.size);
        meta.etag = Some(etag);
        meta.last_modified = Some(version.modified_time());
        meta.metadata = self.metadata.clone();
        meta.checksums = self.checksums;
        Ok(meta)
    }

    /// Returns the permission bits to set on the staged file, unless it has them already.
    fn mode_to_set(&self, staged: &Staged, stat: &Stat) -> Result<Option<u32>> {
        let mode = match self.shared.file_mode {
            // The umask may have removed bits, and staging may have added some.
            CreateMode::Exact(mode) => mode,
            CreateMode::Umask => match self.mode {
                SaveMode::CreateNew | SaveMode::UniqueName => return Ok(None),
                _ => match self.present(staged)?.filter(is_regular) {
                    Some(present) => inherit_ownership(staged, stat, &present),
                    None => return Ok(None),
                },
            },
        };
        Ok((Mode::from_raw_mode(stat.st_mode) != Mode::from_raw_mode(mode)).then_some(mode))
    }

    /// Returns the status of what is in the place of the object.
    fn present(&self, staged: &Staged) -> Result<Option<Stat>> {
        match staged.parent() {
            Some(directory) => lookup(directory, self.key),
            None => self.shared.root.lookup(self.key),
        }
    }

    /// Puts the staged file in its place, as the mode of the save requires. Returns its key.
    fn place(&self, staged: &mut Staged, record: &RecordPlace) -> Result<Key> {
        match self.mode {
            SaveMode::CreateNew => self.place_new(self.key, staged, record),
            SaveMode::UniqueName => {
                let mut key = self.key.clone();
                // Bounded, because a path of the driver that is taken fails in the same way.
                for _ in 1..MAX_NAMES {
                    match self.place_new(&key, staged, record) {
                        Err(error) if is_taken(&error) && self.can_have_siblings() => {
                            key = keys::alternative(self.key)?;
                        }
                        // The object may be there although this failed, under this key.
                        placed => return placed.map_err(|error| error.with_key(key.as_str())),
                    }
                }
                self.place_new(&key, staged, record).map_err(|error| error.with_key(key.as_str()))
            }
            SaveMode::IfMatch(expected) => {
                let Some(_lock) = self.lock(self.key, LockMode::Exclusive)? else {
                    return Err(errors::no_locks());
                };
                let mut sidecar = SidecarWriter::new(self.shared, self.key, record);
                self.with_parent_dir(None, |directory| {
                    check_version(self.shared, self.key, expected)?;
                    self.replace(directory, staged, &mut sidecar)
                })
            }
            _ => match record {
                RecordPlace::InFile => self.overwrite(staged),
                RecordPlace::ForSidecar(_) => {
                    let _lock = self.lock(self.key, LockMode::Exclusive)?;
                    let mut sidecar = SidecarWriter::new(self.shared, self.key, record);
                    self.with_parent_dir(None, |directory| {
                        self.replace(directory, staged, &mut sidecar)
                    })
                }
            },
        }
    }

    /// Returns whether another name in the key's directory could be vacant. Returns `false` if the
    /// parent of the key is a file.
    fn can_have_siblings(&self) -> bool {
        !matches!(self.shared.root.open_parent(self.key), Err(Errno::NOTDIR | Errno::LOOP))
    }

    fn with_parent_dir(
        &self,
        opened: Option<OwnedFd>,
        put: impl FnMut(&OwnedFd) -> Result<Result<Key, Errno>>,
    ) -> Result<Key> {
        with_parent_dir(self.shared, self.key, opened, put)
    }

    fn lock(&self, key: &Key, mode: LockMode) -> Result<Option<Lock>> {
        self.shared.locks.lock(key, mode)
    }

    /// Puts a file that contains its record in its place, over any file that is there.
    fn overwrite(&self, staged: &mut Staged) -> Result<Key> {
        let mut sidecar = SidecarWriter::new(self.shared, self.key, &RecordPlace::InFile);
        self.with_parent_dir(staged.take_parent(), |directory| {
            self.caller.check()?;
            // Most saves create a new object, which needs no lock.
            match staged.place_new(directory.as_fd(), self.key.name()) {
                Err(Errno::EXIST) => {
                    let _lock = self.lock(self.key, LockMode::Shared)?;
                    self.replace(directory, staged, &mut sidecar)
                }
                placed => Ok(placed.map(|()| self.key.clone())),
            }
        })
    }

    /// Replaces any file that is there. The caller holds the key's lock.
    fn replace(
        &self,
        directory: &OwnedFd,
        staged: &mut Staged,
        sidecar: &mut SidecarWriter<'_>,
    ) -> Result<Result<Key, Errno>> {
        // The caller may have dropped the future while this waited for the lock.
        self.caller.check()?;
        let present = lookup(directory, self.key)?;
        if let Some(stat) = &present {
            remove_empty_dir(directory, self.key, stat)?;
        }
        staged.give_name(&self.shared.staging)?;
        sidecar.write(present.as_ref())?;
        let placed = staged.place_over(directory.as_fd(), self.key.name());
        Ok(sidecar.finish(placed).map(|()| self.key.clone()))
    }

    /// Puts the staged file in a vacant place. Fails with `AlreadyExists` if an object is there.
    fn place_new(&self, key: &Key, staged: &mut Staged, record: &RecordPlace) -> Result<Key> {
        let (_lock, opened) = match record {
            RecordPlace::InFile => (None, staged.take_parent()),
            RecordPlace::ForSidecar(_) => (self.lock(key, LockMode::Exclusive)?, None),
        };
        let mut sidecar = SidecarWriter::new(self.shared, key, record);
        self.with_parent_dir(opened, |directory| {
            self.caller.check()?;
            for _ in 0..MAX_ATTEMPTS {
                if matches!(record, RecordPlace::ForSidecar(_)) {
                    ensure_vacant(directory, key)?;
                }
                sidecar.write(None)?;
                match sidecar.finish(staged.place_new(directory.as_fd(), key.name())) {
                    Err(Errno::EXIST) => ensure_vacant(directory, key)?,
                    placed => return Ok(placed.map(|()| key.clone())),
                }
            }
            Err(errors::already_exists())
        })
    }
}

/// Calls `put` with the object's directory, which is `opened`, or opened here, and created if it is
/// missing. If another process removes it (`put` returns `NOENT`), creates it and calls `put`
/// again. Then syncs the directory.
pub(crate) fn with_parent_dir<T>(
    shared: &Shared,
    key: &Key,
    mut opened: Option<OwnedFd>,
    mut put: impl FnMut(&OwnedFd) -> Result<Result<T, Errno>>,
) -> Result<T> {
    for _ in 0..MAX_ATTEMPTS {
        let parent = match opened.take() {
            Some(directory) => shared.root.opened_parent(key, directory),
            None => shared.root.create_parent(key),
        };
        let parent = match parent {
            Ok(parent) => parent,
            Err(Errno::NOENT) => continue,
            Err(errno) => {
                shared.root.remove_empty_parents(key);
                return Err(os_error(errno, "creating the directory for the object"));
            }
        };
        let placed = match put(&parent.directory) {
            Ok(Err(Errno::NOENT)) => continue,
            Ok(placed) => placed.map_err(|errno| match errno {
                Errno::ISDIR | Errno::NOTEMPTY => errors::is_a_directory(),
                other => os_error(other, "renaming the file into place"),
            }),
            Err(error) => Err(error),
        };
        return match placed {
            Ok(placed) => sync(shared, &parent).map(|()| placed),
            Err(error) => {
                if parent.is_new {
                    // Removing the parents needs file descriptors, so release these first.
                    drop(parent);
                    shared.root.remove_empty_parents(key);
                }
                Err(error)
            }
        };
    }
    Err(errors::directory_removed())
}

fn sync(shared: &Shared, parent: &PreparedDir) -> Result<()> {
    shared.root.sync(parent).map_err(|errno| {
        os_error(errno, "the object is in its place, but its directory was not synced")
    })
}

/// Gives a staged file the owner and the group of the file that it replaces, as far as the process
/// may set them. Returns the permission bits of that file. If the group could not be set, the group
/// bits are those of others.
#[allow(clippy::unnecessary_cast, reason = "the field's type differs between systems")]
fn inherit_ownership(staged: &Staged, stat: &Stat, present: &Stat) -> u32 {
    let mode = present.st_mode as u32 & 0o777;
    if (stat.st_uid, stat.st_gid) == (present.st_uid, present.st_gid) {
        return mode;
    }
    let (owner, group) =
        (Some(fs::Uid::from_raw(present.st_uid)), Some(fs::Gid::from_raw(present.st_gid)));
    let changed =
        fs::fchown(staged.fd(), owner, group).or_else(|_| fs::fchown(staged.fd(), None, group));
    match changed.is_ok() || stat.st_gid == present.st_gid {
        true => mode,
        false => (mode & !0o070) | ((mode & 0o007) << 3),
    }
}

pub(crate) fn lookup(directory: &OwnedFd, key: &Key) -> Result<Option<Stat>> {
    match fs::statat(directory, key.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(os_error(errno, "looking up the file")),
    }
}

/// Removes an empty directory from the place of an object. Does nothing for a regular file. Fails
/// with `Conflict` for anything else.
pub(crate) fn remove_empty_dir(directory: &OwnedFd, key: &Key, present: &Stat) -> Result<()> {
    if is_regular(present) {
        return Ok(());
    }
    if !is_directory(present) {
        return Err(errors::not_a_regular_file());
    }
    match remove_if_empty(directory, key.name()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => Err(errors::is_a_directory()),
    }
}

/// Fails with `AlreadyExists` if an object is in the place of a new one. Otherwise as
/// [`remove_empty_dir`].
pub(crate) fn ensure_vacant(directory: &OwnedFd, key: &Key) -> Result<()> {
    match lookup(directory, key)? {
        Some(stat) if is_regular(&stat) => Err(errors::already_exists()),
        Some(stat) => remove_empty_dir(directory, key, &stat),
        None => Ok(()),
    }
}

fn is_taken(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::FsBuilder;

    const MODES: [SaveMode; 3] = [SaveMode::Overwrite, SaveMode::CreateNew, SaveMode::UniqueName];

    fn shared_with_directory(root: &Path) -> Arc<Shared> {
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        Shared::open(FsBuilder::new(root).durable(true).into_settings()).unwrap()
    }

    fn staged(shared: &Shared, key: &Key) -> Staged {
        let mut staged =
            Staged::create(&shared.staging, key, shared.file_mode.of_new_file()).unwrap();
        staged.write(b"body").unwrap();
        staged
    }

    fn commit(shared: &Shared, key: &Key, mode: &SaveMode, staged: Staged) -> Result<ObjectMeta> {
        let metadata = &Metadata::default();
        let (checksums, caller) = (Checksums::default(), &CallerAlive::default());
        Commit { shared, key, mode, metadata, checksums, caller }.run(staged)
    }

    /// The file has no name yet, so the directory is empty and can be removed.
    #[test]
    fn a_directory_that_is_removed_after_staging_has_opened_it_is_created_again() {
        for mode in MODES {
            let scratch = tempfile::tempdir().unwrap();
            let shared = shared_with_directory(scratch.path());
            let key = Key::new("d/e/object").unwrap();
            let staged = staged(&shared, &key);
            let is_unnamed = shared.staging.open_unnamed(&key, 0o600).unwrap().is_some();
            assert_eq!(staged.parent().is_some(), is_unnamed);
            std::fs::remove_dir(scratch.path().join("d/e")).unwrap();
            std::fs::remove_dir(scratch.path().join("d")).unwrap();
            assert_eq!(commit(&shared, &key, &mode, staged).unwrap().key, key);
            assert_eq!(std::fs::read(scratch.path().join("d/e/object")).unwrap(), b"body");
        }
    }

    #[test]
    fn a_directory_that_is_moved_during_a_long_write_does_not_get_the_object() {
        for mode in MODES {
            let scratch = tempfile::tempdir().unwrap();
            let shared = shared_with_directory(scratch.path());
            let key = Key::new("d/e/object").unwrap();
            let mut staged = staged(&shared, &key);
            staged.begin_long_write();
            std::fs::rename(scratch.path().join("d/e"), scratch.path().join("d/moved")).unwrap();
            commit(&shared, &key, &mode, staged).unwrap();
            assert_eq!(std::fs::read(scratch.path().join("d/e/object")).unwrap(), b"body");
            assert_eq!(std::fs::read_dir(scratch.path().join("d/moved")).unwrap().count(), 0);
        }
    }
}
