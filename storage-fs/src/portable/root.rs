//! The root directory and the paths below it.
//!
//! Invariant: the driver resolves every path here, one directory after the other, and follows no
//! symlink. cap-std keeps each step below the open directory, even if another program swaps files
//! in the meantime.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use storage_core::{Error, Key, Result};

use super::io_error::{io_error, is_missing, means_absent, state_dir_error};
use super::name_rules::{NameRules, last};
use super::platform;
use crate::dirty_dirs::DirtyDirs;
use crate::errors;
use crate::names::{self, RESERVED};
use crate::settings::{CreateMode, Settings};
use crate::uploads::UPLOADS;

pub(crate) const LOCKS: &str = ".anystorage/locks";
pub(crate) const META: &str = ".anystorage/meta";
pub(crate) const STAGING: &str = ".anystorage/staging";

const STATE_DIR_MODE: CreateMode = CreateMode::Exact(0o700);

/// How often other processes may remove a directory before an operation fails.
pub(crate) const MAX_ATTEMPTS: usize = 1000;

/// An open root.
#[derive(Debug)]
pub(crate) struct Root {
    directory: Dir,
    path: PathBuf,
    canonical: PathBuf,
    dir_mode: CreateMode,
    rules: NameRules,
    /// The directories that are not yet synced; `None` if saves are not durable or the system
    /// cannot sync directories.
    dirty_dirs: Option<DirtyDirs>,
}

/// A directory that is open and ready for a new file.
pub(crate) struct PreparedDir {
    pub(crate) directory: Dir,
    /// Whether this call created it or one of its ancestors.
    pub(crate) is_new: bool,
    /// The parents of the directories to sync after it, with their paths and generations.
    dirty: Vec<(Dir, String, u64)>,
}

impl Root {
    /// Opens the root, and creates it if it is missing and the settings allow that.
    pub(crate) fn open(settings: &Settings, rules: NameRules) -> Result<Self> {
        let path = &settings.root;
        let shown = path.display();
        if path.as_os_str().is_empty() {
            return Err(Error::config("option root is empty: set it to the path of a directory"));
        }
        if settings.create_root && !path.is_dir() {
            create_root(path, settings.dir_mode).map_err(|cause| {
                Error::config(format!("root {shown} cannot be created: check its parent directory"))
                    .with_source(cause)
            })?;
        }
        // The root itself may be a symlink, because it comes from the configuration and not from a
        // key.
        let opened = Dir::open_ambient_dir(path, ambient_authority())
            .and_then(|directory| Ok((directory, path.canonicalize()?)));
        let (directory, canonical) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::config(format!(
                "root {shown} does not exist: create it or set create_root = true"
            )),
            ErrorKind::NotADirectory => Error::config(format!("root {shown} is not a directory")),
            _ if path.exists() && !path.is_dir() => {
                Error::config(format!("root {shown} is not a directory"))
            }
            _ => io_error(error, "opening the root").with_context(&format!("root {shown}")),
        })?;
        let dirty_dirs = (settings.durable && platform::SYNCS_DIRECTORIES).then(DirtyDirs::default);
        let (path, dir_mode) = (path.clone(), settings.dir_mode);
        Ok(Self { directory, path, canonical, dir_mode, rules, dirty_dirs })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails with `InvalidKey` for a key with a reserved segment.
    pub(crate) fn check(&self, key: &Key) -> Result<()> {
        names::check_reserved(key)
    }

    /// Does the same as [`check`](Self::check), and fails with `InvalidKey` for a segment that the
    /// system cannot store. Reads treat an object with such a key as missing.
    pub(crate) fn check_new(&self, key: &Key) -> Result<()> {
        self.check(key)?;
        self.rules.check(key)?;
        // On Windows, the rules have checked the length, in other units.
        if cfg!(windows) { Ok(()) } else { names::check_length(key) }
    }

    /// Opens a directory below the root. The empty path is the root. Fails with `NotADirectory` if
    /// a component is a symlink or a file.
    pub(crate) fn open_directory(&self, path: &str) -> io::Result<Dir> {
        let mut directory = self.directory.try_clone()?;
        for inner in beginnings(path) {
            directory = self.open_child(&directory, inner)?;
        }
        Ok(directory)
    }

    /// Opens the directory of a key's file.
    pub(crate) fn open_parent(&self, key: &Key) -> io::Result<Dir> {
        self.open_directory(key.parent().unwrap_or_default())
    }

    /// Opens a directory by its path, of which only the last component is resolved.
    fn open_child(&self, directory: &Dir, path: &str) -> io::Result<Dir> {
        // Systems return different errors for a symlink, so check the type first.
        match self.entry(directory, path)? {
            None => Err(ErrorKind::NotFound.into()),
            Some(meta) if !meta.is_dir() => Err(ErrorKind::NotADirectory.into()),
            Some(_) => match directory.open_dir_nofollow(last(path)) {
                Err(error) if !is_missing(&error) && !is_directory(directory, last(path)) => {
                    Err(ErrorKind::NotADirectory.into())
                }
                opened => opened,
            },
        }
    }

    /// Returns the status of the last component of a path in its directory, or `None` if the name
    /// is vacant. Follows no symlink.
    pub(crate) fn entry(&self, directory: &Dir, path: &str) -> io::Result<Option<Metadata>> {
        if self.rules.problem(last(path)).is_some() {
            return Ok(None);
        }
        match directory.symlink_metadata(last(path)) {
            Ok(meta) => {
                self.rules.check_found(&self.canonical, directory, path)?;
                Ok(Some(meta))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.rules.check_missing(directory, last(path))?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the status of a key's file, or `None` if it certainly does not exist.
    pub(crate) fn lookup(&self, key: &Key) -> Result<Option<Metadata>> {
        let found =
            self.open_parent(key).and_then(|directory| self.entry(&directory, key.as_str()));
        match found {
            Err(error) if means_absent(&error) => Ok(None),
            found => found.map_err(|error| io_error(error, "looking up the file")),
        }
    }

    /// Opens a key's file for reading. Fails with `NotFound` if it is not a regular file.
    pub(crate) fn open_file(&self, key: &Key) -> Result<(File, Metadata)> {
        let opened =
            self.open_parent(key).and_then(|directory| self.open_file_in(&directory, key.as_str()));
        opened.map_err(|error| match means_absent(&error) {
            true => Error::not_found(),
            false => io_error(error, "opening the file"),
        })
    }

    /// Opens a regular file for reading. Otherwise fails with `NotFound`.
    ///
    /// The type is checked before opening, because opening a device or a FIFO can have effects. It
    /// is checked again afterwards, because another program may have swapped the file.
    pub(crate) fn open_file_in(&self, directory: &Dir, path: &str) -> io::Result<(File, Metadata)> {
        let absent = || io::Error::from(ErrorKind::NotFound);
        if !self.entry(directory, path)?.is_some_and(|meta| meta.is_file()) {
            return Err(absent());
        }
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No);
        platform::do_not_block(&mut options);
        let file = match directory.open_with(last(path), &options) {
            Ok(file) => file.into_std(),
            // It was swapped for a symlink.
            Err(_) if !is_regular_file(directory, last(path)) => return Err(absent()),
            Err(error) => return Err(error),
        };
        let meta = Metadata::from_file(&file)?;
        if meta.is_file() { Ok((file, meta)) } else { Err(absent()) }
    }

    /// Opens the directory for a key's file, and creates missing directories with the configured
    /// mode.
    pub(crate) fn create_parent(&self, key: &Key) -> io::Result<PreparedDir> {
        self.create_directory(key.parent().unwrap_or_default(), self.dir_mode)
    }

    fn create_directory(&self, path: &str, mode: CreateMode) -> io::Result<PreparedDir> {
        let mut directory = self.directory.try_clone()?;
        let mut is_new = false;
        for inner in beginnings(path) {
            directory = match self.open_child(&directory, inner) {
                Err(error) if is_missing(&error) => {
                    is_new = true;
                    let create = || self.create_child(&directory, inner, mode);
                    self.dirty_dirs
                        .as_ref()
                        .map_or_else(create, |dirty| dirty.create(inner, create))?
                }
                opened => opened?,
            };
        }
        let mut dirty = Vec::new();
        for (path, generation) in self.dirty_dirs.iter().flat_map(|dirs| dirs.on_path(path)) {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            match self.open_directory(parent) {
                Ok(parent) => dirty.push((parent, path, generation)),
                // Another process removed it, which needs no sync.
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(PreparedDir { directory, is_new, dirty })
    }

    fn create_child(&self, directory: &Dir, path: &str, mode: CreateMode) -> io::Result<Dir> {
        let builder = platform::dir_builder(mode.of_new_directory());
        match directory.create_dir_with(last(path), &builder) {
            Ok(()) => {
                let created = self.open_child(directory, path)?;
                if let CreateMode::Exact(mode) = mode {
                    // The umask may have removed bits.
                    platform::set_dir_mode(&created, mode)?;
                }
                Ok(created)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.open_child(directory, path)
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs a directory and its dirty ancestors to the disk. Does nothing if saves are not durable
    /// or the system cannot sync directories.
    pub(crate) fn sync(&self, prepared: &PreparedDir) -> io::Result<()> {
        let Some(dirty_dirs) = &self.dirty_dirs else { return Ok(()) };
        platform::sync_dir(&prepared.directory)?;
        for (parent, path, generation) in &prepared.dirty {
            platform::sync_dir(parent)?;
            dirty_dirs.mark_synced(path, *generation);
        }
        Ok(())
    }

    /// Removes the parent directories of a key that are empty, from the innermost out. The file
    /// system removes only an empty directory, so this needs no lock.
    pub(crate) fn remove_empty_parents(&self, key: &Key) {
        let mut path = key.parent();
        while let Some(directory) = path {
            let (outer, name) = directory.rsplit_once('/').unwrap_or(("", directory));
            let remove = || self.open_directory(outer)?.remove_dir(name);
            let removed = self
                .dirty_dirs
                .as_ref()
                .map_or_else(remove, |dirty| dirty.remove(directory, is_missing, remove));
            // If it does not exist, its parents may still be empty.
            if removed.is_err_and(|error| !is_missing(&error)) {
                return;
            }
            path = (!outer.is_empty()).then_some(outer);
        }
    }

    /// Opens one of the driver's own directories, and creates it if it is missing. It is closed to
    /// other users.
    pub(crate) fn own_directory(&self, path: &str) -> Result<Dir> {
        for _ in 0..MAX_ATTEMPTS {
            match self.try_own_directory(path) {
                // Another process removed it while it was empty.
                Err(error) if is_missing(&error) => {}
                opened => return opened.map_err(state_dir_error),
            }
        }
        Err(errors::directory_removed())
    }

    fn try_own_directory(&self, path: &str) -> io::Result<Dir> {
        let state_dir = self.create_directory(RESERVED, STATE_DIR_MODE)?;
        if state_dir.is_new {
            platform::give_directory_to_owner_of(&self.directory, &state_dir.directory);
        }
        platform::close_to_others(&self.directory, &state_dir.directory)?;
        let prepared = self.create_directory(path, STATE_DIR_MODE)?;
        if prepared.is_new {
            platform::give_directory_to_owner_of(&self.directory, &prepared.directory);
            // A sidecar is durable only if the directories above it are.
            self.sync(&prepared)?;
        }
        Ok(prepared.directory)
    }

    /// Removes the driver's own directories that are empty.
    pub(crate) fn remove_empty_own_directories(&self) {
        for path in [STAGING, META, LOCKS, UPLOADS, RESERVED] {
            let (outer, name) = path.rsplit_once('/').unwrap_or(("", path));
            if let Ok(outer) = self.open_directory(outer) {
                let _ = outer.remove_dir(name);
            }
        }
    }
}

/// Returns the paths of the directories that lead to a path, and the path itself.
fn beginnings(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.map(|end| &path[..end]).filter(|beginning| !beginning.is_empty())
}

fn is_directory(directory: &Dir, name: &str) -> bool {
    directory.symlink_metadata(name).is_ok_and(|meta| meta.is_dir())
}

fn is_regular_file(directory: &Dir, name: &str) -> bool {
    directory.symlink_metadata(name).is_ok_and(|meta| meta.is_file())
}

/// Creates the root and its missing ancestors with the configured mode.
fn create_root(path: &Path, mode: CreateMode) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    for path in missing.into_iter().rev() {
        match (std::fs::create_dir(path), mode) {
            (Ok(()), CreateMode::Exact(mode)) => {
                platform::set_dir_mode(&Dir::open_ambient_dir(path, ambient_authority())?, mode)?;
            }
            (Ok(()), CreateMode::Umask) => {}
            // Another process was faster. Opening it fails if it is not a directory.
            (Err(error), _) if error.kind() == ErrorKind::AlreadyExists => {}
            (Err(error), _) => return Err(error),
        }
        let outer = path.parent().filter(|outer| !outer.as_os_str().is_empty());
        // A parent that this process may not read cannot be synced.
        let _ = Dir::open_ambient_dir(outer.unwrap_or(Path::new(".")), ambient_authority())
            .and_then(|outer| platform::sync_dir(&outer));
    }
    Ok(())
}
