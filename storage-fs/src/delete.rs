//! `delete`.

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;
use storage_core::{Key, Result};

use crate::driver::Shared;
use crate::errors::{self, means_absent};
use crate::metadata;
use crate::root::{is_regular, lock};

pub(crate) fn delete(shared: &Shared, key: &Key) -> Result<()> {
    match unlink(shared, key) {
        Ok(true) => {
            shared.root.prune(key);
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(errno) if means_absent(errno) => Ok(()),
        Err(errno) => Err(errors::os(errno, "deleting the file")),
    }
}

/// Whether there was a file to remove. What is no regular file is no object and stays.
fn unlink(shared: &Shared, key: &Key) -> Result<bool, Errno> {
    let directory = shared.root.open_parent(key)?;
    // So that no compare-and-replace sees the object before and acts after. Without locks there is none.
    if lock(&directory, false) == Err(Errno::WOULDBLOCK) {
        return Err(Errno::WOULDBLOCK);
    }
    // And so that we do not take the sidecar of an object that is saved right after.
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
