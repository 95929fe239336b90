//! The directory `.anystorage` below the root, which contains the driver's own files.
//!
//! A user who can open a file can lock and read it. So the directory has mode 0700 and belongs to
//! the user of this process or to the owner of the root. The modes of files and directories below
//! it therefore do not matter.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, Dir, Mode};
use rustix::io::Errno;
use storage_core::Result;

use super::errno::state_dir_error;
use super::root::{PreparedDir, RESERVED, Root};
use crate::errors;
use crate::settings::CreateMode;

pub(crate) const LOCKS: &str = ".anystorage/locks";
pub(crate) const META: &str = ".anystorage/meta";
pub(crate) const STAGING: &str = ".anystorage/staging";

const STATE_DIR_MODE: u32 = 0o700;

/// How often other processes may remove the directory before an operation fails.
pub(crate) const MAX_ATTEMPTS: usize = 100;

/// Opens one of the directories above, and creates it and its parents if they are missing.
///
/// Fails with `PermissionDenied` if `.anystorage` belongs to another user, or is open to other
/// users and cannot be closed to them.
pub(crate) fn open_directory(root: &Root, path: &str) -> Result<PreparedDir> {
    for _ in 0..MAX_ATTEMPTS {
        match try_open_directory(root, path) {
            // Another process removed a directory of the path while it was empty.
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(state_dir_error),
        }
    }
    Err(errors::directory_removed())
}

fn try_open_directory(root: &Root, path: &str) -> Result<PreparedDir, Errno> {
    let state_dir = root.create_directory(RESERVED, CreateMode::Exact(STATE_DIR_MODE))?;
    let owner = fs::fstat(root.directory())?.st_uid;
    if state_dir.is_new && is_empty(&state_dir.directory)? {
        chown_from_root(&state_dir.directory, owner);
    }
    let owner = check(&state_dir.directory, owner)?;
    let prepared = root.create_directory(path, CreateMode::Exact(STATE_DIR_MODE))?;
    if prepared.is_new && is_empty(&prepared.directory)? {
        chown_from_root(&prepared.directory, owner);
    }
    Ok(prepared)
}

/// Checks that `.anystorage` is safe to use, and returns its owner.
fn check(state_dir: &OwnedFd, root_owner: u32) -> Result<u32, Errno> {
    let stat = fs::fstat(state_dir)?;
    if stat.st_uid != root_owner && stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    // Earlier versions and other programs may have created it with another mode.
    if stat.st_mode & 0o077 != 0 {
        fs::fchmod(state_dir, Mode::from_raw_mode(STATE_DIR_MODE))?;
    }
    Ok(stat.st_uid)
}

/// Gives a new file or directory to `owner`, if the superuser created it. `owner` is the owner of
/// the directory that contains it.
///
/// Otherwise, a command that the superuser runs once would leave files that the owner of the root
/// cannot open. Call it only for a file that this process created, or for an empty directory.
pub(crate) fn chown_from_root(created: impl AsFd, owner: u32) {
    let user = rustix::process::geteuid();
    if user.is_root() && user.as_raw() != owner {
        // If this fails, a later operation of the owner fails and names the directory.
        let _ = fs::fchown(created, Some(fs::Uid::from_raw(owner)), None);
    }
}

fn is_empty(directory: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
