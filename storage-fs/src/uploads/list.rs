//! `parts` and `uploads`, and the sweep of what killed processes left.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use storage_core::{Key, Part, Prefix, Result, UnfinishedUpload, UploadId};

use super::files::Files;
use super::record::is_upload_id;
use super::upload::{LOCK, PRIVATE, RECORD, Upload, present, remove_directory};
use super::{DATA, UPLOADS};
use crate::blocking::CallerAlive;
use crate::errors;

/// Lists the parts of an upload.
pub(super) fn parts<F: Files>(
    files: &Arc<F>,
    key: &Key,
    id: &UploadId,
) -> Result<Vec<Result<Part>>> {
    let caller = CallerAlive::default();
    let upload = Upload::open(files, key, id, &caller)?.ok_or_else(errors::no_such_upload)?;
    let stored = upload.parts()?;
    // After reading, because the upload may have ended meanwhile.
    if !upload.is_in_progress()? {
        return Err(errors::no_such_upload());
    }
    Ok(stored.iter().map(|(number, record)| record.to_part(*number)).collect())
}

/// Lists the uploads of the keys that begin with a prefix, in byte order of the key. An upload that
/// cannot be read is an error at the end, so that it hides no other one.
pub(super) fn uploads<F: Files>(
    files: &Arc<F>,
    prefix: &Prefix,
) -> Result<Vec<Result<UnfinishedUpload>>> {
    let failed = |error| files.error(error, "listing the uploads");
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let Some(uploads) = present(files, files.uploads()).map_err(failed)? else {
        return Ok(Vec::new());
    };
    for name in files.names(&uploads).map_err(failed)? {
        if !is_upload_id(&name) {
            continue;
        }
        match in_progress(files, &uploads, &name, prefix) {
            Ok(upload) => found.extend(upload),
            Err(error) => {
                let error = error.with_key(format!("{UPLOADS}/{name}"));
                unreadable.push(Err(error.with_listing_continues(true)));
            }
        }
    }
    found.sort_by(|a, b| (&a.key, a.begun).cmp(&(&b.key, b.begun)));
    Ok(found.into_iter().map(Ok).chain(unreadable).collect())
}

/// Returns an upload if it is in progress and its key begins with the prefix.
fn in_progress<F: Files>(
    files: &Arc<F>,
    uploads: &F::Dir,
    name: &str,
    prefix: &Prefix,
) -> Result<Option<UnfinishedUpload>> {
    let opened = Upload::open_in(files, uploads, name);
    let opened = opened.map_err(|error| files.error(error, "listing the uploads"))?;
    let Some(upload) = opened else { return Ok(None) };
    let beginning = &upload.beginning;
    if !prefix.matches(&beginning.key) || !upload.is_in_progress()? {
        return Ok(None);
    }
    let listed = UnfinishedUpload::new(beginning.key.clone(), beginning.id.clone());
    Ok(Some(listed.with_begun(Some(beginning.begun))))
}

/// Removes the directories of uploads that never began or have ended, which killed processes left,
/// if they were last changed at least `age` ago. Returns their number. Uploads in progress stay.
pub(crate) fn sweep<F: Files>(files: &Arc<F>, age: Duration) -> Result<usize> {
    let failed = |error| files.error(error, "sweeping the uploads");
    let mut removed = 0;
    let Some(uploads) = present(files, files.uploads()).map_err(failed)? else { return Ok(0) };
    for name in files.names(&uploads).map_err(failed)? {
        if is_upload_id(&name) && sweep_one(files, &uploads, &name, age).unwrap_or(false) {
            removed += 1;
        }
    }
    Ok(removed)
}

fn sweep_one<F: Files>(
    files: &Arc<F>,
    uploads: &F::Dir,
    name: &str,
    age: Duration,
) -> io::Result<bool> {
    let Some(dir) = present(files, files.open_dir(uploads, name))? else { return Ok(false) };
    let since = SystemTime::now().duration_since(files.modified(&dir)?);
    if !since.is_ok_and(|since| since >= age) {
        return Ok(false);
    }
    // A process that begins, completes or removes the upload holds the lock. Without the file, it
    // was killed before or after that, or it begins right now: then one of the two makes the file,
    // and the other one fails.
    let lock = match present(files, files.open_writable(&dir, LOCK))? {
        Some(lock) => lock,
        None => match files.create_file(&dir, LOCK, PRIVATE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            created => created?,
        },
    };
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    if !has_ended(files, uploads, &dir, name)? {
        return Ok(false);
    }
    remove_directory(&**files, uploads, &dir, name)?;
    Ok(true)
}

/// Returns whether an upload has ended or never began.
fn has_ended<F: Files>(
    files: &Arc<F>,
    uploads: &F::Dir,
    dir: &F::Dir,
    name: &str,
) -> io::Result<bool> {
    let has_record = present(files, files.open_file(dir, RECORD))?.is_some();
    let has_data = present(files, files.open_file(dir, DATA))?.is_some();
    if !has_record || !has_data {
        return Ok(true);
    }
    match Upload::open_in(files, uploads, name)? {
        Some(upload) => Ok(!upload.is_in_progress()?),
        // A record that this version cannot read belongs to an upload too.
        None => Ok(false),
    }
}
