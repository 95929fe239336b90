//! `delete`: removes the file, its sidecar, and directories that are empty afterwards.

use std::sync::Arc;

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;
use storage_core::{ErrorKind, Key, Result};

use super::errno::{means_absent, os_error};
use super::locks::LockMode;
use super::root::is_regular;
use super::shared::Shared;
use super::sidecar;

pub(crate) async fn delete(shared: &Arc<Shared>, key: &Key) -> Result<()> {
    shared.root.check(key)?;
    let key = key.clone();
    shared.run(move |shared, _| delete_blocking(shared, &key)).await
}

fn delete_blocking(shared: &Shared, key: &Key) -> Result<()> {
    // Looking first creates no lock file for a missing object.
    if !shared.root.lookup(key)?.is_some_and(|stat| is_regular(&stat)) {
        return sync_earlier_deletion(shared, key);
    }
    // The lock excludes processes that compare the object and then replace it.
    let lock = match shared.locks.lock(key, LockMode::Shared) {
        // On a full disk, a missing lock file cannot be created. So no other process holds this
        // lock. The delete must succeed, because it frees space.
        Err(error) if error.kind() == ErrorKind::StorageFull => None,
        locked => locked?,
    };
    match unlink(shared, key) {
        Ok(true) => {
            // Removing the parents needs a file descriptor but no lock, so release the lock's.
            drop(lock);
            shared.root.remove_empty_parents(key);
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(errno) if means_absent(errno) => Ok(()),
        Err(errno) => Err(os_error(errno, "deleting the file")),
    }
}

/// Syncs the directory of a missing object, whose deletion may have failed or been given up before
/// its sync.
fn sync_earlier_deletion(shared: &Shared, key: &Key) -> Result<()> {
    if !shared.durable {
        return Ok(());
    }
    match shared.root.open_parent(key).and_then(|directory| fs::fsync(&directory)) {
        Err(errno) if !means_absent(errno) => Err(os_error(errno, "syncing the directory")),
        _ => Ok(()),
    }
}

/// Removes the file and its sidecar. Returns whether there was a file. Anything that is not a
/// regular file is not an object and stays.
fn unlink(shared: &Shared, key: &Key) -> Result<bool, Errno> {
    let directory = shared.root.open_parent(key)?;
    let has_sidecar = sidecar::exists(shared, key)?;
    if !is_regular(&fs::statat(&directory, key.name(), AtFlags::SYMLINK_NOFOLLOW)?) {
        return Ok(false);
    }
    fs::unlinkat(&directory, key.name(), AtFlags::empty())?;
    if has_sidecar {
        sidecar::remove(shared, key);
    }
    if shared.durable {
        fs::fsync(&directory)?;
    }
    Ok(true)
}
