//! `delete`: removes the file, its sidecar, and directories that are empty afterwards.

use std::io;
use std::sync::Arc;

use storage_core::{ErrorKind, Key, Result};

use super::io_error::{io_error, means_absent};
use super::shared::Shared;
use super::{platform, sidecar};

pub(crate) async fn delete(shared: &Arc<Shared>, key: &Key) -> Result<()> {
    shared.root.check(key)?;
    let key = key.clone();
    shared.run(move |shared, _| delete_blocking(shared, &key)).await
}

fn delete_blocking(shared: &Shared, key: &Key) -> Result<()> {
    // Looking first creates no lock file for a missing object.
    if !shared.root.lookup(key)?.is_some_and(|present| present.is_file()) {
        return sync_earlier_deletion(shared, key);
    }
    let lock = match shared.locks.lock(key) {
        // On a full disk, a missing lock file cannot be created. So no other process holds this
        // lock. The delete must succeed, because it frees space.
        Err(error) if error.kind() == ErrorKind::StorageFull => None,
        locked => locked?,
    };
    match remove(shared, key) {
        Ok(true) => {
            drop(lock);
            shared.root.remove_empty_parents(key);
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error) if means_absent(&error) => Ok(()),
        Err(error) => Err(io_error(error, "deleting the file")),
    }
}

/// Syncs the directory of a missing object, whose deletion may have failed or been given up before
/// its sync.
fn sync_earlier_deletion(shared: &Shared, key: &Key) -> Result<()> {
    if !shared.durable {
        return Ok(());
    }
    match shared.root.open_parent(key).and_then(|directory| platform::sync_dir(&directory)) {
        Err(error) if !means_absent(&error) => Err(io_error(error, "syncing the directory")),
        _ => Ok(()),
    }
}

/// Removes the file and its sidecar. Returns whether there was a file. Anything that is not a
/// regular file is not an object and stays.
fn remove(shared: &Shared, key: &Key) -> io::Result<bool> {
    let directory = shared.root.open_parent(key)?;
    if !shared.root.entry(&directory, key.as_str())?.is_some_and(|present| present.is_file()) {
        return Ok(false);
    }
    platform::retry_while_denied(|| directory.remove_file(key.name()))?;
    sidecar::remove(shared, key);
    if shared.durable {
        platform::sync_dir(&directory)?;
    }
    Ok(true)
}
