//! `complete` and `abort`: the end of an upload.

use std::sync::Arc;

use storage_core::internal::detach;
use storage_core::{
    CompleteOptions, ErrorKind, Key, ObjectMeta, Part, Result, UploadId, check_completed,
    check_parts,
};

use super::files::{CompletedData, Files};
use super::placing::Placing;
use super::record::{PartRecord, is_upload_id, object_etag, object_id};
use super::upload::{Held, LockMode, PARTS, Upload};
use crate::blocking::CallerAlive;
use crate::errors;

/// Makes the object visible, or returns the metadata of the object of this upload.
pub(super) fn complete<F: Files>(
    files: &Arc<F>,
    key: &Key,
    id: &UploadId,
    options: &CompleteOptions,
    caller: &CallerAlive,
) -> Result<ObjectMeta> {
    let Some(upload) = Upload::open(files, key, id, caller)? else {
        let meta = completed(files, key, id)?;
        return check_completed(&meta, id.plan(), options).map(|()| meta);
    };
    let lock = upload.lock_file()?;
    let held = match &lock {
        Some(lock) => upload.hold(lock, LockMode::Exclusive)?,
        None => None,
    };
    let meta = match &held {
        // If the upload was put back from a copy after its completion, its object is not replaced.
        Some(held) if !upload.is_object_present()? => commit(&upload, held, options, caller)?,
        // Another process has completed it, and was perhaps killed before it removed the rest.
        _ => {
            let meta = completed(files, key, id)?;
            check_completed(&meta, id.plan(), options)?;
            if held.is_some() {
                // A put that waits for the lock must find that the upload has ended. Otherwise it
                // would store a part in a directory that is then removed.
                let removed = upload.remove_data();
                removed.map_err(|error| files.error(error, "removing the upload"))?;
            }
            meta
        }
    };
    drop(held);
    remove(upload);
    Ok(meta)
}

/// The records of up to so many parts are removed before a completion returns. More would take
/// longer than the rest of the completion.
const REMOVED_AT_ONCE: usize = 64;

/// Removes what remains of an upload whose object is in its place. Many files are removed after the
/// completion has returned. A sweep removes what is left if this fails or the process ends.
fn remove<F: Files>(upload: Upload<F>) {
    let parts = upload.directory(PARTS).ok().and_then(|parts| upload.files.names(&parts).ok());
    let number_of_parts = parts.map_or(0, |parts| parts.len());
    let remove = move || {
        if let Err(error) = upload.remove() {
            tracing::debug!(%error, "the directory of a completed upload could not be removed");
        }
    };
    if number_of_parts > REMOVED_AT_ONCE { detach(remove) } else { remove() }
}

/// Returns the metadata of the object if an upload of this id has become it.
fn completed<F: Files>(files: &Arc<F>, key: &Key, id: &UploadId) -> Result<ObjectMeta> {
    if !is_upload_id(id.upload()) {
        return Err(errors::no_such_upload());
    }
    let expected = object_etag(id.upload())?;
    match files.stat(key) {
        Ok(meta) if meta.etag.as_ref() == Some(&expected) => {
            // The process that completed it may have failed or been killed before it did this.
            if files.is_durable() {
                let synced = files.sync_parents(key);
                synced
                    .map_err(|error| files.error(error, "syncing the directory of the object"))?;
            }
            Ok(meta)
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Err(errors::no_such_upload()),
    }
}

fn commit<F: Files>(
    upload: &Upload<F>,
    held: &Held<'_>,
    options: &CompleteOptions,
    caller: &CallerAlive,
) -> Result<ObjectMeta> {
    let beginning = &upload.beginning;
    let stored = upload.parts()?;
    let parts: Vec<Part> =
        stored.iter().map(|(number, record)| record.to_part(*number)).collect::<Result<_>>()?;
    let checked = check_parts(parts, &beginning.plan, options)?;
    upload.files.precheck(&beginning.key, &beginning.plan.mode)?;
    caller.check()?;
    // The parts of the object are numbered from 1 without a gap.
    let is_kept = |number: u32| number as usize <= checked.parts.len();
    let (kept, discarded): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|(number, _)| is_kept(*number));
    put_in_place(upload, held, &kept, &discarded, checked.size)?;

    let failed = |error| upload.files.error(error, "finishing the upload");
    upload.files.commit(
        CompletedData {
            directory: upload.files.clone_dir(&upload.dir).map_err(failed)?,
            file: held.data.try_clone().map_err(failed)?,
            id: object_id(beginning.id.upload()),
            key: &beginning.key,
            mode: &beginning.plan.mode,
            metadata: &beginning.metadata,
            checksums: checked.checksum.into_iter().collect(),
            placing: Placing::new(&upload.files, &upload.dir).map_err(failed)?,
        },
        caller,
    )
}

/// Makes `data` contain exactly the bytes of the object.
fn put_in_place<F: Files>(
    upload: &Upload<F>,
    held: &Held<'_>,
    kept: &[(u32, PartRecord)],
    discarded: &[(u32, PartRecord)],
    size: u64,
) -> Result<()> {
    let failed = |error| upload.files.error(error, "finishing the upload");
    let parts = upload.directory(PARTS)?;
    let len = held.data.metadata().map_err(failed)?.len();
    let beside = kept.iter().filter(|(_, record)| record.beside.is_some());
    if len > size || !discarded.is_empty() || beside.clone().next().is_some() {
        held.add_change().map_err(failed)?;
    }
    // Their records must not outlive their bytes.
    for (number, record) in discarded {
        upload.discard_part(&parts, *number, record)?;
    }
    if !discarded.is_empty() && upload.files.is_durable() {
        upload.files.sync_dir(&parts).map_err(failed)?;
    }
    for (number, _) in beside {
        upload.apply(held, &parts, *number)?;
    }
    let len = held.data.metadata().map_err(failed)?.len();
    if len > size {
        held.data.set_len(size).map_err(failed)?;
    }
    if len < size { Err(errors::damaged_upload()) } else { Ok(()) }
}

/// Removes an upload, whatever its state.
pub(super) fn abort<F: Files>(
    files: &Arc<F>,
    key: &Key,
    id: &UploadId,
    caller: &CallerAlive,
) -> Result<()> {
    let Some(upload) = Upload::open(files, key, id, caller)? else { return Ok(()) };
    // Puts end before the directory is removed. Without the lock file, another process is removing
    // it or was killed while it did.
    let lock = upload.lock_file()?;
    if let Some(lock) = &lock {
        upload.acquire(lock, LockMode::Exclusive)?;
    }
    upload.remove().map_err(|error| files.error(error, "removing the upload"))
}
