//! `delete`.

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;
use storage_core::{ErrorKind, Key, Result};

use crate::driver::Shared;
use crate::errors::{self, means_absent};
use crate::locks::Access;
use crate::metadata;
use crate::root::is_regular;

pub(crate) fn delete(shared: &Shared, key: &Key) -> Result<()> {
    // Without the lock: where there is nothing to delete, there is nothing to lock, and the tree
    // stays as it is.
    if !shared.root.look(key)?.is_some_and(|stat| is_regular(&stat)) {
        return Ok(());
    }
    // No process that compares and replaces may see the object before and act after.
    let lock = match shared.locks.lock(key, Access::Shared) {
        // A full disk has no room for a lock file that is not there yet. So no other process holds
        // this lock, and deleting is the way to make room.
        Err(error) if error.kind() == ErrorKind::StorageFull => None,
        locked => locked?,
    };
    match unlink(shared, key) {
        Ok(true) => {
            // Pruning needs no lock, but a file descriptor.
            drop(lock);
            shared.root.prune(key);
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(errno) if means_absent(errno) => Ok(()),
        Err(errno) => Err(errors::os(errno, "deleting the file")),
    }
}

/// Returns whether there was a file to remove. What is not a regular file is not an object and
/// stays.
fn unlink(shared: &Shared, key: &Key) -> Result<bool, Errno> {
    let directory = shared.root.open_parent(key)?;
    let has_sidecar = metadata::has_sidecar(shared, key)?;
    if !is_regular(&fs::statat(&directory, key.name(), AtFlags::SYMLINK_NOFOLLOW)?) {
        return Ok(false);
    }
    fs::unlinkat(&directory, key.name(), AtFlags::empty())?;
    if has_sidecar {
        metadata::remove_sidecar(shared, key);
    }
    if shared.durable {
        fs::fsync(&directory)?;
    }
    Ok(true)
}
