//! The step that makes a staged file the object. It happens under the key's lock.

use std::fs::FileTimes;
use std::io::{self, ErrorKind as IoKind};
use std::time::SystemTime;

use cap_std::fs::{Dir, Metadata as Status};
use storage_core::{
    Checksums, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, SaveMode, keys,
};

use super::io_error::{io_error, is_missing, is_other_name, means_absent};
use super::metadata::version_of;
use super::platform;
use super::root::MAX_ATTEMPTS;
use super::shared::Shared;
use super::sidecar::SidecarWriter;
use super::staged::Staged;
use super::stat::check_version;
use crate::blocking::CallerAlive;
use crate::errors;
use crate::record::{Record, SidecarEntry};
use crate::settings::{CreateMode, MAX_NAMES};

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
        let failed = |error| io_error(error, "finishing the file");
        let file = staged.file();
        // The precise clock distinguishes this version from a change by another program within the
        // same tick.
        file.set_times(FileTimes::new().set_modified(SystemTime::now())).map_err(failed)?;
        let status = Status::from_file(file).map_err(failed)?;
        let version = version_of(&status)?;
        let record = Record::new(&version, staged.id(), self.metadata, &self.checksums);
        let etag = record.etag()?;
        if let Some(mode) = self.mode_to_set(&staged, &status)? {
            platform::set_mode(file, mode).map_err(failed)?;
        }
        if self.shared.durable {
            file.sync_all().map_err(|error| io_error(error, "syncing the file"))?;
        }
        let entry = SidecarEntry { inode: version.inode, record };
        let key = self.place(&mut staged, &entry)?;
        let mut meta = ObjectMeta::new(key, version.size);
        meta.etag = Some(etag);
        meta.last_modified = Some(version.modified_time());
        meta.metadata = self.metadata.clone();
        meta.checksums = self.checksums;
        Ok(meta)
    }

    /// Returns the permission bits to set on the staged file, unless it has them already.
    fn mode_to_set(&self, staged: &Staged, status: &Status) -> Result<Option<u32>> {
        let mode = match (self.shared.file_mode, self.mode) {
            // The umask may have removed bits, and staging may have added some.
            (CreateMode::Exact(mode), _) => Some(mode),
            (CreateMode::Umask, SaveMode::CreateNew | SaveMode::UniqueName) => None,
            (CreateMode::Umask, _) => {
                let present = self.shared.root.lookup(self.key)?.filter(Status::is_file);
                present.and_then(|present| {
                    platform::inherit_ownership(staged.file(), status, &present)
                })
            }
        };
        Ok(mode.filter(|mode| platform::mode_of(status) != Some(*mode)))
    }

    /// Puts the staged file in its place, as the mode of the save requires. Returns its key.
    fn place(&self, staged: &mut Staged, entry: &SidecarEntry) -> Result<Key> {
        match self.mode {
            SaveMode::CreateNew => self.place_new(self.key, staged, entry),
            SaveMode::UniqueName => {
                let mut key = self.key.clone();
                // Bounded, because a path of the driver that is taken fails in the same way.
                for _ in 1..MAX_NAMES {
                    match self.place_new(&key, staged, entry) {
                        Err(error) if is_taken(&error) && self.can_have_siblings() => {
                            key = keys::alternative(self.key)?;
                        }
                        // The object may be there although this failed, under this key.
                        placed => return placed.map_err(|error| error.with_key(key.as_str())),
                    }
                }
                self.place_new(&key, staged, entry).map_err(|error| error.with_key(key.as_str()))
            }
            mode => {
                let lock = self.shared.locks.lock(self.key)?;
                if let (None, SaveMode::IfMatch(_)) = (&lock, mode) {
                    return Err(errors::no_locks());
                }
                let mut sidecar = SidecarWriter::new(self.shared, self.key, entry);
                with_parent_dir(self.shared, self.key, |directory| {
                    if let SaveMode::IfMatch(expected) = mode {
                        check_version(self.shared, self.key, expected)?;
                    }
                    self.replace(directory, staged, &mut sidecar)
                })?;
                Ok(self.key.clone())
            }
        }
    }

    /// Returns whether another name in the key's directory could be vacant. Returns `false` if the
    /// parent of the key is a file.
    fn can_have_siblings(&self) -> bool {
        match self.shared.root.open_parent(self.key) {
            Err(error) => error.kind() != IoKind::NotADirectory && !is_other_name(&error),
            Ok(_) => true,
        }
    }

    /// Replaces any file that is there. The caller holds the key's lock.
    fn replace(
        &self,
        directory: &Dir,
        staged: &mut Staged,
        sidecar: &mut SidecarWriter<'_>,
    ) -> Result<io::Result<()>> {
        // The caller may have dropped the future while this waited for the lock.
        self.caller.check()?;
        let present = entry(self.shared, directory, self.key)?;
        if let Some(present) = &present {
            remove_empty_dir(directory, self.key, present)?;
        }
        let has_file = present.is_some_and(|present| present.is_file());
        sidecar.write(has_file)?;
        let placed = match has_file {
            true => staged.place_over(directory, self.key.name()),
            // By now, a file whose name differs only in case may exist, which a rename would
            // replace.
            false => staged.place_new(directory, self.key.name()),
        };
        if placed.is_ok() {
            sidecar.finish();
        }
        Ok(placed)
    }

    /// Puts the staged file in a vacant place. Fails with `AlreadyExists` if an object is there.
    fn place_new(&self, key: &Key, staged: &mut Staged, entry: &SidecarEntry) -> Result<Key> {
        let _lock = self.shared.locks.lock(key)?;
        let mut sidecar = SidecarWriter::new(self.shared, key, entry);
        with_parent_dir(self.shared, key, |directory| {
            self.caller.check()?;
            ensure_vacant(self.shared, directory, key)?;
            sidecar.write(false)?;
            let placed = staged.place_new(directory, key.name());
            if placed.is_ok() {
                sidecar.finish();
            }
            Ok(placed)
        })?;
        Ok(key.clone())
    }
}

/// Calls `put` with the object's directory, which is created if it is missing. If another process
/// removes it (`put` returns `NotFound`), creates it and calls `put` again. Then syncs the
/// directory.
pub(crate) fn with_parent_dir(
    shared: &Shared,
    key: &Key,
    mut put: impl FnMut(&Dir) -> Result<io::Result<()>>,
) -> Result<()> {
    for _ in 0..MAX_ATTEMPTS {
        let parent = match shared.root.create_parent(key) {
            Ok(parent) => parent,
            Err(error) if is_missing(&error) => continue,
            Err(error) => {
                shared.root.remove_empty_parents(key);
                return Err(io_error(error, "creating the directory for the object"));
            }
        };
        let placed = match put(&parent.directory) {
            Ok(Err(error)) if is_missing(&error) => continue,
            Ok(placed) => placed.map_err(|error| match error.kind() {
                IoKind::IsADirectory | IoKind::DirectoryNotEmpty => errors::is_a_directory(),
                _ => io_error(error, "renaming the file into place"),
            }),
            Err(error) => Err(error),
        };
        return match placed {
            Ok(()) => shared.root.sync(&parent).map_err(|error| {
                io_error(error, "the object is in its place, but its directory was not synced")
            }),
            Err(error) => {
                if parent.is_new {
                    // Windows removes no directory that is open.
                    drop(parent);
                    shared.root.remove_empty_parents(key);
                }
                Err(error)
            }
        };
    }
    Err(errors::directory_removed())
}

/// Returns the status of a key's file in its directory. Fails with `Conflict` if the name exists in
/// another spelling.
pub(crate) fn entry(shared: &Shared, directory: &Dir, key: &Key) -> Result<Option<Status>> {
    match shared.root.entry(directory, key.as_str()) {
        Err(error) if means_absent(&error) && !is_other_name(&error) => Ok(None),
        entry => entry.map_err(|error| io_error(error, "looking up the file")),
    }
}

/// Fails with `AlreadyExists` if an object is in the place of a new one. Otherwise as
/// [`remove_empty_dir`].
pub(crate) fn ensure_vacant(shared: &Shared, directory: &Dir, key: &Key) -> Result<()> {
    match entry(shared, directory, key)? {
        Some(present) if present.is_file() => Err(errors::already_exists()),
        Some(present) => remove_empty_dir(directory, key, &present),
        None => Ok(()),
    }
}

/// Removes an empty directory from the place of an object. Does nothing for a regular file. Fails
/// with `Conflict` for anything else.
pub(crate) fn remove_empty_dir(directory: &Dir, key: &Key, present: &Status) -> Result<()> {
    if present.is_file() {
        return Ok(());
    }
    if !present.is_dir() {
        return Err(errors::not_a_regular_file());
    }
    match directory.remove_dir(key.name()) {
        Err(error) if error.kind() != IoKind::NotFound => Err(errors::is_a_directory()),
        _ => Ok(()),
    }
}

fn is_taken(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict)
}
