//! The root directory and the paths below it.
//!
//! Invariant: the driver resolves every path here, relative to an open directory, and follows no
//! symlink. So no path leads out of the root, even if another program plants symlinks or swaps
//! files in the meantime.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use storage_core::{Error, Key, Result};

use super::errno::{means_absent, os_error};
use crate::dirty_dirs::DirtyDirs;
use crate::names;
pub(crate) use crate::names::RESERVED;
use crate::settings::CreateMode;

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open root.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    path: PathBuf,
    dir_mode: CreateMode,
    is_local: bool,
    /// The directories that are not yet synced; `None` if saves are not durable.
    dirty_dirs: Option<DirtyDirs>,
}

/// A directory that is open and ready for a new file.
pub(crate) struct PreparedDir {
    pub(crate) directory: OwnedFd,
    /// Whether this call created it or one of its ancestors.
    pub(crate) is_new: bool,
    /// The ancestors to sync after it. They are opened in advance, so that when the object is in
    /// its place, only the syncing itself can fail.
    dirty: Vec<DirtyDir>,
}

/// A directory that may not be on the disk yet. Syncing its parent puts it there.
struct DirtyDir {
    parent: OwnedFd,
    path: String,
    generation: u64,
}

impl Root {
    /// Opens the root, and creates it if it is missing and `create` is set.
    pub(crate) fn open(
        path: &Path,
        create: bool,
        dir_mode: CreateMode,
        durable: bool,
    ) -> Result<Self> {
        let shown = path.display();
        if path.as_os_str().is_empty() {
            return Err(Error::config("option root is empty: set it to the path of a directory"));
        }
        if create && !path.is_dir() {
            create_root(path, dir_mode).map_err(|cause| {
                Error::config(format!("root {shown} cannot be created: check its parent directory"))
                    .with_source(cause)
            })?;
        }
        // The root itself may be a symlink, because it comes from the configuration and not from a
        // key.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => Error::config(format!(
                "root {shown} does not exist: create it or set create_root = true"
            )),
            Errno::NOTDIR => Error::config(format!("root {shown} is not a directory")),
            other => os_error(other, "opening the root").with_context(&format!("root {shown}")),
        })?;
        let is_local = is_local(&directory);
        let dirty_dirs = durable.then(DirtyDirs::default);
        Ok(Self { directory, path: path.to_owned(), dir_mode, is_local, dirty_dirs })
    }

    /// Returns the open root if it is on a file system that is known to be local: opening a file
    /// needs no other machine or process.
    pub(crate) fn local(&self) -> Option<BorrowedFd<'_>> {
        self.is_local.then(|| self.directory.as_fd())
    }

    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails with `InvalidKey` for a key with a reserved segment.
    pub(crate) fn check(&self, key: &Key) -> Result<()> {
        names::check_reserved(key)
    }

    /// Does the same as [`check`](Self::check), and fails with `InvalidKey` for a segment that is
    /// too long to create.
    pub(crate) fn check_new(&self, key: &Key) -> Result<()> {
        self.check(key)?;
        names::check_length(key)
    }

    /// Opens a path below the root. Fails with `LOOP` if a component is a symlink.
    pub(crate) fn open_below(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_below(self.directory.as_fd(), path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW)
    }

    /// Opens a directory below the root. The empty path is the root.
    pub(crate) fn open_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_below(if path.is_empty() { "." } else { path }, DIRECTORY)
    }

    /// Opens the directory of a key's file.
    pub(crate) fn open_parent(&self, key: &Key) -> Result<OwnedFd, Errno> {
        self.open_directory(key.parent().unwrap_or_default())
    }

    /// Returns the status of a key's file without opening it, or `None` if it certainly does not
    /// exist.
    pub(crate) fn lookup(&self, key: &Key) -> Result<Option<Stat>> {
        let found = self
            .open_parent(key)
            .and_then(|parent| fs::statat(&parent, key.name(), AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(errno) if means_absent(errno) => Ok(None),
            Err(errno) => Err(os_error(errno, "looking up the file")),
        }
    }

    /// Opens a key's file for reading. Fails with `NotFound` if it is not a regular file.
    ///
    /// The type is checked before opening, because opening a device or a FIFO can have effects. It
    /// is checked again afterwards, because another program may have swapped the file. (Only the
    /// first check resolves symlinks in the directories of the path.)
    pub(crate) fn open_file(&self, key: &Key) -> Result<(OwnedFd, Stat)> {
        let opened =
            fs::statat(&self.directory, key.as_str(), AtFlags::SYMLINK_NOFOLLOW).and_then(|stat| {
                if !is_regular(&stat) {
                    return Err(Errno::NOENT);
                }
                let file = self.open_below(key.as_str(), OFlags::RDONLY | OFlags::NONBLOCK)?;
                let stat = fs::fstat(&file)?;
                if is_regular(&stat) { Ok((file, stat)) } else { Err(Errno::NOENT) }
            });
        opened.map_err(|errno| match means_absent(errno) {
            true => Error::not_found(),
            false => os_error(errno, "opening the file"),
        })
    }

    /// Opens the directory for a key's file, and creates missing directories with the configured
    /// mode.
    pub(crate) fn create_parent(&self, key: &Key) -> Result<PreparedDir, Errno> {
        match self.open_parent(key) {
            Err(Errno::NOENT) => {}
            opened => return self.prepared(opened?, key.parent().unwrap_or_default(), false),
        }
        self.create_directory(key.parent().unwrap_or_default(), self.dir_mode)
    }

    /// Opens a directory below the root, and creates it and its ancestors if they are missing.
    pub(crate) fn create_directory(
        &self,
        path: &str,
        mode: CreateMode,
    ) -> Result<PreparedDir, Errno> {
        let mut directory = self.open_directory("")?;
        let mut is_new = false;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for inner in ends.map(|end| &path[..end]) {
            let segment = inner.rsplit_once('/').map_or(inner, |(_, segment)| segment);
            directory = match open_child(&directory, segment) {
                Err(Errno::NOENT) => {
                    is_new = true;
                    let create = || create_child(&directory, segment, mode);
                    self.dirty_dirs
                        .as_ref()
                        .map_or_else(create, |dirty| dirty.create(inner, create))?
                }
                opened => opened?,
            };
        }
        self.prepared(directory, path, is_new)
    }

    /// Prepares the directory of a key's file that is already open. If it was removed since then,
    /// creating a file in it fails with `NOENT`.
    pub(crate) fn opened_parent(
        &self,
        key: &Key,
        directory: OwnedFd,
    ) -> Result<PreparedDir, Errno> {
        self.prepared(directory, key.parent().unwrap_or_default(), false)
    }

    fn prepared(&self, directory: OwnedFd, path: &str, is_new: bool) -> Result<PreparedDir, Errno> {
        let mut dirty = Vec::new();
        for (path, generation) in self.dirty_dirs.iter().flat_map(|dirs| dirs.on_path(path)) {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            match self.open_directory(parent) {
                Ok(parent) => dirty.push(DirtyDir { parent, path, generation }),
                // Another process removed it, which needs no sync.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(PreparedDir { directory, is_new, dirty })
    }

    /// Syncs a directory and its dirty ancestors to the disk. Does nothing if saves are not
    /// durable.
    pub(crate) fn sync(&self, prepared: &PreparedDir) -> Result<(), Errno> {
        let Some(dirty_dirs) = &self.dirty_dirs else { return Ok(()) };
        fs::fsync(&prepared.directory)?;
        for DirtyDir { parent, path, generation } in &prepared.dirty {
            fs::fsync(parent)?;
            dirty_dirs.mark_synced(path, *generation);
        }
        Ok(())
    }

    /// Removes the parent directories of a key that are empty, from the innermost out.
    ///
    /// Needs no lock: the file system removes only an empty directory. A save that has opened the
    /// directory then fails to put its object there, and creates the directory again.
    pub(crate) fn remove_empty_parents(&self, key: &Key) {
        let mut path = key.parent();
        while let Some(directory) = path {
            let (outer, name) = directory.rsplit_once('/').unwrap_or(("", directory));
            let remove =
                || self.open_directory(outer).and_then(|outer| remove_if_empty(&outer, name));
            let removed = self.dirty_dirs.as_ref().map_or_else(remove, |dirty| {
                dirty.remove(directory, |errno| *errno == Errno::NOENT, remove)
            });
            // If it does not exist, its parents may still be empty.
            if !matches!(removed, Ok(()) | Err(Errno::NOENT)) {
                return;
            }
            path = (!outer.is_empty()).then_some(outer);
        }
    }
}

fn is_local(directory: &OwnedFd) -> bool {
    /// The magic numbers of ext2 to ext4, XFS, Btrfs, tmpfs, F2FS and overlayfs: see statfs(2).
    const LOCAL: [u64; 6] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x794c_7630];
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between machines")]
    fs::fstatfs(directory).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}

/// Removes a directory if it is empty. Follows no symlink.
pub(crate) fn remove_if_empty(outer: &OwnedFd, name: &str) -> Result<(), Errno> {
    fs::unlinkat(outer, name, AtFlags::REMOVEDIR)
}

pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Creates the root and its missing ancestors with the configured mode.
fn create_root(path: &Path, dir_mode: CreateMode) -> std::io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    missing.into_iter().rev().try_for_each(|directory| create_one(directory, dir_mode))
}

fn create_one(directory: &Path, mode: CreateMode) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match (std::fs::create_dir(directory), mode) {
        (Ok(()), CreateMode::Exact(mode)) => {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode))?;
        }
        (Ok(()), CreateMode::Umask) => {}
        // Another process was faster. Opening it fails if it is not a directory.
        (Err(error), _) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        (Err(error), _) => return Err(error),
    }
    // Objects below must survive a loss of power. Errors are ignored, because a parent that this
    // process may not read cannot be synced.
    let outer =
        directory.parent().filter(|outer| !outer.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = std::fs::File::open(outer).and_then(|outer| outer.sync_all());
    Ok(())
}

fn open_child(directory: &OwnedFd, segment: &str) -> Result<OwnedFd, Errno> {
    fs::openat(directory, segment, DIRECTORY, Mode::empty())
}

fn create_child(directory: &OwnedFd, segment: &str, mode: CreateMode) -> Result<OwnedFd, Errno> {
    match fs::mkdirat(directory, segment, Mode::from_raw_mode(mode.of_new_directory())) {
        Ok(()) => {
            let created = open_child(directory, segment)?;
            if let CreateMode::Exact(mode) = mode {
                // The umask may have removed bits.
                fs::fchmod(&created, Mode::from_raw_mode(mode))?;
            }
            Ok(created)
        }
        Err(Errno::EXIST) => open_child(directory, segment),
        Err(errno) => Err(errno),
    }
}

fn open_below(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Whether `openat2` is missing: kernels before 5.6 lack it, and some containers block it.
    static MISSING: AtomicBool = AtomicBool::new(false);

    if !MISSING.load(Ordering::Relaxed) {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM)
                if fs::openat2(root, ".", DIRECTORY, Mode::empty(), resolve).is_err() =>
            {
                MISSING.store(true, Ordering::Relaxed);
            }
            opened => return opened,
        }
    }
    open_stepwise(root, path, flags)
}

/// Opens one directory of a path after the other, without following symlinks. For systems without
/// `openat2`.
fn open_stepwise(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let Some((directories, name)) = path.rsplit_once('/') else {
        return fs::openat(root, path, flags, Mode::empty());
    };
    let mut directory = fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    for segment in directories.split('/') {
        directory = open_child(&directory, segment)?;
    }
    fs::openat(&directory, name, flags, Mode::empty())
}
