//! The root directory and the ways below it. All paths of the driver are resolved here, relative to
//! an open directory, and none follows a symlink: whatever is planted in the tree, or swapped while
//! we look, nothing leads out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use storage_core::{Error, ErrorKind, Key, Result};

use crate::config::CreateMode;
use crate::errors::{self, means_absent};
use crate::unsynced::Unsynced;

/// The directory that is ours, at whatever depth it appears (a root may lie below another root).
pub(crate) const RESERVED: &str = ".anystorage";

/// The longest name that the common file systems hold.
const MAX_NAME_BYTES: usize = 255;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open root.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    path: PathBuf,
    dir_mode: CreateMode,
    is_local: bool,
    /// What is to be synced; `None` if nothing ever is.
    unsynced: Option<Unsynced>,
}

/// A directory that has just been made ready for an object.
pub(crate) struct Made {
    pub(crate) directory: OwnedFd,
    /// Whether it, or one on the way to it, is new.
    pub(crate) is_new: bool,
    /// What has to be synced besides, opened in advance: when the object is in its place, nothing
    /// but the syncing itself may fail.
    way: Vec<Unsettled>,
}

/// A directory that may not be on the disk yet, by the open one that it is in.
struct Unsettled {
    outer: OwnedFd,
    path: String,
    number: u64,
}

impl Root {
    pub(crate) fn open(
        path: &Path,
        create: bool,
        dir_mode: CreateMode,
        durable: bool,
    ) -> Result<Self> {
        let shown = path.display();
        if path.as_os_str().is_empty() {
            return Err(Error::config("option root is empty: name a directory"));
        }
        if create && !path.is_dir() {
            create_root(path, dir_mode).map_err(|cause| {
                Error::config(format!("root {shown} cannot be created")).with_source(cause)
            })?;
        }
        // The root itself may be a symlink: it is the administrator's word, not a key's.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => Error::config(format!(
                "root {shown} does not exist: create it or set create_root = true"
            )),
            Errno::NOTDIR => Error::config(format!("root {shown} is not a directory")),
            other => errors::os(other, "opening the root").with_context(&format!("root {shown}")),
        })?;
        let is_local = is_local(&directory);
        let unsynced = durable.then(Unsynced::default);
        Ok(Self { directory, path: path.to_owned(), dir_mode, is_local, unsynced })
    }

    /// The open root, if it is on a file system that needs no other machine or process to open a
    /// file.
    pub(crate) fn local(&self) -> Option<BorrowedFd<'_>> {
        self.is_local.then(|| self.directory.as_fd())
    }

    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a key that has no place here.
    pub(crate) fn check(&self, key: &Key) -> Result<()> {
        // Case-insensitively, for file systems that are.
        if key.segments().any(is_reserved) {
            let message = "this name belongs to the driver: no segment of a key can be .anystorage";
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        Ok(())
    }

    /// As [`check`](Self::check), for a key that is to be written.
    pub(crate) fn check_new(&self, key: &Key) -> Result<()> {
        self.check(key)?;
        if key.segments().any(|segment| segment.len() > MAX_NAME_BYTES) {
            return Err(errors::invalid_name());
        }
        Ok(())
    }

    /// Opens what is at a path below the root, for which no component is a symlink.
    pub(crate) fn open_below(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_below(self.directory.as_fd(), path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW)
    }

    /// Opens a directory below the root; the empty path is the root.
    pub(crate) fn open_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_below(if path.is_empty() { "." } else { path }, DIRECTORY)
    }

    /// Opens the directory in which a key's file is.
    pub(crate) fn open_parent(&self, key: &Key) -> Result<OwnedFd, Errno> {
        self.open_directory(key.parent().unwrap_or_default())
    }

    /// What is at a key's place, without opening it; `None` if there is certainly nothing.
    pub(crate) fn look(&self, key: &Key) -> Result<Option<Stat>> {
        let found = self
            .open_parent(key)
            .and_then(|parent| fs::statat(&parent, key.name(), AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(errno) if means_absent(errno) => Ok(None),
            Err(errno) => Err(errors::os(errno, "looking the file up")),
        }
    }

    /// Opens a key's file for reading, if it is a regular one.
    ///
    /// It is looked at first, since opening a device or a FIFO can have effects; and again when it
    /// is open, since it may have been swapped in between. (The first look may see through a
    /// symlink on the way, the opening does not.)
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
            false => errors::os(errno, "opening the file"),
        })
    }

    /// Opens the directory for a key's file and makes what is missing on the way, with the mode
    /// that was asked for.
    pub(crate) fn make_parent(&self, key: &Key) -> Result<Made, Errno> {
        match self.open_parent(key) {
            Err(Errno::NOENT) => {}
            opened => return self.made(opened?, key.parent().unwrap_or_default(), false),
        }
        self.make_directory(key.parent().unwrap_or_default(), self.dir_mode)
    }

    /// Opens a directory below the root and makes what is missing on the way.
    pub(crate) fn make_directory(&self, path: &str, mode: CreateMode) -> Result<Made, Errno> {
        let mut directory = self.open_directory("")?;
        let mut is_new = false;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for inner in ends.map(|end| &path[..end]) {
            let segment = inner.rsplit_once('/').map_or(inner, |(_, segment)| segment);
            directory = match open_step(&directory, segment) {
                Err(Errno::NOENT) => {
                    is_new = true;
                    let make = || make_step(&directory, segment, mode);
                    self.unsynced
                        .as_ref()
                        .map_or_else(make, |unsynced| unsynced.add(inner, make))?
                }
                opened => opened?,
            };
        }
        self.made(directory, path, is_new)
    }

    fn made(&self, directory: OwnedFd, path: &str, is_new: bool) -> Result<Made, Errno> {
        let mut way = Vec::new();
        for (path, number) in self.unsynced.iter().flat_map(|unsynced| unsynced.on_the_way(path)) {
            let outer = path.rsplit_once('/').map_or("", |(outer, _)| outer);
            match self.open_directory(outer) {
                Ok(outer) => way.push(Unsettled { outer, path, number }),
                // It was removed again, and all that was in it.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(Made { directory, is_new, way })
    }

    /// Puts on the disk what has changed in a directory, and the way to it.
    pub(crate) fn sync(&self, made: &Made) -> Result<(), Errno> {
        let Some(unsynced) = &self.unsynced else { return Ok(()) };
        fs::fsync(&made.directory)?;
        for Unsettled { outer, path, number } in &made.way {
            fs::fsync(outer)?;
            unsynced.settle(path, *number);
        }
        Ok(())
    }

    /// Removes the directories on the way to a key as far as they are empty, from the innermost
    /// out.
    ///
    /// No lock is needed: the file system removes a directory only if it is empty, and a save that
    /// has opened a directory fails to put its object there after that, and makes the directory
    /// again.
    pub(crate) fn prune(&self, key: &Key) {
        let mut path = key.parent();
        while let Some(directory) = path {
            let (outer, name) = directory.rsplit_once('/').unwrap_or(("", directory));
            let remove =
                || self.open_directory(outer).and_then(|outer| remove_if_empty(&outer, name));
            let removed = self
                .unsynced
                .as_ref()
                .map_or_else(remove, |unsynced| unsynced.remove(directory, remove));
            // One that is not there has been removed, or was never made; those around it may still
            // be empty.
            if !matches!(removed, Ok(()) | Err(Errno::NOENT)) {
                return;
            }
            path = (!outer.is_empty()).then_some(outer);
        }
    }
}

#[cfg(target_os = "linux")]
fn is_local(directory: &OwnedFd) -> bool {
    /// ext2 to ext4, XFS, Btrfs, tmpfs, F2FS, overlayfs: see statfs(2).
    const LOCAL: [u64; 6] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x794c_7630];
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between machines")]
    fs::fstatfs(directory).is_ok_and(|about| LOCAL.contains(&(about.f_type as u64 & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn is_local(_directory: &OwnedFd) -> bool {
    false
}

pub(crate) fn is_reserved(name: &str) -> bool {
    name.eq_ignore_ascii_case(RESERVED)
}

/// Removes a directory if it is empty. Never follows a symlink.
pub(crate) fn remove_if_empty(outer: &OwnedFd, name: &str) -> Result<(), Errno> {
    fs::unlinkat(outer, name, AtFlags::REMOVEDIR)
}

pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Makes the root, and what is missing on the way to it, with the mode that was asked for.
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
        // Somebody else was faster; what it is shows when it is opened.
        (Err(error), _) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        (Err(error), _) => return Err(error),
    }
    // What is saved below is to outlast a loss of power. A directory above that may not be read
    // cannot be synced.
    let outer =
        directory.parent().filter(|outer| !outer.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = std::fs::File::open(outer).and_then(|outer| outer.sync_all());
    Ok(())
}

fn open_step(directory: &OwnedFd, segment: &str) -> Result<OwnedFd, Errno> {
    fs::openat(directory, segment, DIRECTORY, Mode::empty())
}

fn make_step(directory: &OwnedFd, segment: &str, mode: CreateMode) -> Result<OwnedFd, Errno> {
    match fs::mkdirat(directory, segment, Mode::from_raw_mode(mode.of_new_directory())) {
        Ok(()) => {
            let made = open_step(directory, segment)?;
            if let CreateMode::Exact(mode) = mode {
                // The umask has taken bits away.
                fs::fchmod(&made, Mode::from_raw_mode(mode))?;
            }
            Ok(made)
        }
        Err(Errno::EXIST) => open_step(directory, segment),
        Err(errno) => Err(errno),
    }
}

#[cfg(target_os = "linux")]
fn open_below(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Kernels before 5.6 do not have the call, and some containers do not let it through.
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

#[cfg(not(target_os = "linux"))]
fn open_below(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    open_stepwise(root, path, flags)
}

/// The portable way: one directory after the other, none of them through a symlink.
fn open_stepwise(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let Some((directories, name)) = path.rsplit_once('/') else {
        return fs::openat(root, path, flags, Mode::empty());
    };
    let mut directory = fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    for segment in directories.split('/') {
        directory = open_step(&directory, segment)?;
    }
    fs::openat(&directory, name, flags, Mode::empty())
}
