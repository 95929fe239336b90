//! Moves one object: renames it within a storage. Otherwise copies it and then deletes the source,
//! if that is certainly another object.

use anystorage::{Error, ErrorKind, Key, ObjectMeta, Result, Storage};

use crate::compare::same_storage;
use crate::copy::copy_object;
use crate::exit::Failure;
use crate::metadata::MetadataArgs;
use crate::move_check;
use crate::place::Place;
use crate::progress::Progress;

/// Moves an object with its metadata. Keeps the source if anything fails.
pub(crate) async fn move_object(
    from: (&Storage, &Key),
    to: (&Storage, &Key),
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<ObjectMeta> {
    let destination = move_check::check_before_copy(from, to).await?;
    if let Some(renamed) = rename(from, to, metadata).await {
        return renamed;
    }
    let copied = copy_object(from, to, metadata, progress).await?;
    // Only the version that was copied is deleted. A newer object has no copy yet. If the copy
    // itself replaced the source (the same object at two locations), it is the only one.
    match from.0.stat(from.1).await {
        Ok(now) if is_version(&now, &copied) => {
            move_check::check_after_copy(destination, &now, to).await?;
            from.0.delete(from.1).await.map(|()| copied)
        }
        Ok(_) => Err(Error::new(
            ErrorKind::Conflict,
            "the source has changed since it was copied, so it was kept; move it again",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(copied),
        Err(error) => Err(error),
    }
}

/// Renames the object. Returns `None` if its storage cannot do that, or if the move changes
/// metadata.
async fn rename(
    (source, from): (&Storage, &Key),
    (target, to): (&Storage, &Key),
    metadata: &MetadataArgs,
) -> Option<Result<ObjectMeta>> {
    if !same_storage(source, target) || !source.info().capabilities.rename {
        return None;
    }
    let before = match source.stat(from).await {
        Ok(before) if metadata.would_change(&before.metadata) => return None,
        Ok(before) => before,
        Err(error) => return Some(Err(error)),
    };
    match source.rename(from, to).await {
        Err(error) if error.is_unsupported() && !error.took_effect() => None,
        renamed => Some(renamed.map(|()| before)),
    }
}

/// Fails if the storage of the source is read-only, before anything is copied.
pub(crate) fn refuse_read_only(from: &Place, shown: &str) -> Result<(), Failure> {
    if from.storage.info().capabilities.write {
        return Ok(());
    }
    let message = "the storage of the source is read-only, so nothing was moved; use anystorage cp";
    Err(Failure::at(&shown, &Error::new(ErrorKind::PermissionDenied, message)))
}

/// Fails if a local file changed while it was read, so that its copy may be a mix of two versions.
/// Other programs may write into a file in place, which no driver can prevent.
pub(crate) async fn refuse_changed(
    (storage, key): (&Storage, &Key),
    opened: &ObjectMeta,
) -> Result<()> {
    if storage.info().name != "fs" {
        return Ok(());
    }
    match storage.stat(key).await {
        Ok(now) if !is_version(&now, opened) => Err(changed_error()),
        // One that was deleted was not written to.
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the error for a local file that changed while it was read.
pub(crate) fn changed_error() -> Error {
    let message = "the file changed while it was copied, so the copy may be a mix of two versions; \
                   copy it again";
    Error::new(ErrorKind::Conflict, message)
}

fn is_version(now: &ObjectMeta, then: &ObjectMeta) -> bool {
    // Weak comparison, because the ETag of a file becomes strong some time after its last change.
    let same_tag = match (&now.etag, &then.etag) {
        (Some(now), Some(then)) => now.weak_eq(then),
        (now, then) => now == then,
    };
    same_tag && now.last_modified == then.last_modified && now.size == then.size
}
