//! The directory `.anystorage` below the root: it belongs to this driver and is closed to other
//! users.
//!
//! A user who can open a file can lock it, list it or read it. So the directory has mode 0700, and
//! it belongs either to the user of this process or to the owner of the root. Below it, the modes
//! of files and directories no longer matter.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, Dir, Mode};
use rustix::io::Errno;
use storage_core::Result;

use crate::config::CreateMode;
use crate::errors;
use crate::root::{Made, RESERVED, Root};

pub(crate) const LOCKS: &str = ".anystorage/locks";
pub(crate) const META: &str = ".anystorage/meta";
pub(crate) const STAGING: &str = ".anystorage/staging";

const OWN_MODE: u32 = 0o700;

/// How often the directory may be removed by other processes before an operation fails.
pub(crate) const MAX_TRIES: usize = 100;

/// Opens one of the directories above, and creates what is missing on the way to it.
///
/// Fails with `PermissionDenied` if `.anystorage` belongs to another user, or is open to other
/// users and cannot be closed to them.
pub(crate) fn open_directory(root: &Root, path: &str) -> Result<Made> {
    for _ in 0..MAX_TRIES {
        match try_open_directory(root, path) {
            // Another process removed an empty directory on the way.
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(errors::own_directory),
        }
    }
    Err(errors::removed())
}

fn try_open_directory(root: &Root, path: &str) -> Result<Made, Errno> {
    let own = root.make_directory(RESERVED, CreateMode::Exact(OWN_MODE))?;
    let owner = fs::fstat(root.directory())?.st_uid;
    if own.is_new && is_empty(&own.directory)? {
        hand_over(&own.directory, owner);
    }
    let owner = check(&own.directory, owner)?;
    let made = root.make_directory(path, CreateMode::Exact(OWN_MODE))?;
    if made.is_new && is_empty(&made.directory)? {
        hand_over(&made.directory, owner);
    }
    Ok(made)
}

/// Returns the owner of `.anystorage`, after checking that the directory is safe to use.
fn check(own: &OwnedFd, root_owner: u32) -> Result<u32, Errno> {
    let stat = fs::fstat(own)?;
    if stat.st_uid != root_owner && stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    // Earlier versions and other programs may have created it with another mode.
    if stat.st_mode & 0o077 != 0 {
        fs::fchmod(own, Mode::from_raw_mode(OWN_MODE))?;
    }
    Ok(stat.st_uid)
}

/// Gives a new file or directory to the owner of the directory around it, if this process may do
/// that.
///
/// Without it, a command that the superuser runs once would leave files that the owner of the root
/// cannot open. Call it only for a file that this process has created, or for an empty directory.
pub(crate) fn hand_over(made: impl AsFd, owner: u32) {
    let user = rustix::process::geteuid();
    if user.is_root() && user.as_raw() != owner {
        // If it fails, the owner gets an error that names the directory.
        let _ = fs::fchown(made, Some(fs::Uid::from_raw(owner)), None);
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
