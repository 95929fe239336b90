//! `begin`: creates the directory of an upload.

use std::io;
use std::sync::Arc;

use storage_core::internal::hex;
use storage_core::{Key, MultipartOptions, Result, UploadId, UploadPlan, keys};

use super::files::Files;
use super::record::UploadRecord;
use super::upload::{
    BESIDE, LOCK, LOCKS, LockMode, PARTS, PRIVATE, RECORD, acquire, encoded, remove_directory,
    write_record,
};
use super::{DATA, UPLOADS};
use crate::blocking::CallerAlive;
use crate::errors;

/// How often other processes may remove the directory of all uploads while it is empty.
const MAX_ATTEMPTS: usize = 100;

/// Begins an upload. The record is written last, so that a listing shows only whole uploads.
pub(super) fn begin<F: Files>(
    files: &Arc<F>,
    key: &Key,
    options: &MultipartOptions,
) -> Result<UploadId> {
    let failed = |error| match files.means_no_locks(&error) {
        true => errors::no_locks_for_uploads(),
        false => files.error(error, "beginning the upload"),
    };
    for _ in 0..MAX_ATTEMPTS {
        let name = hex(&keys::random_bytes::<16>()?);
        let id = UploadId::new(&*name, Some(UploadPlan::new(options)?))?;
        let record = encoded(&UploadRecord::new(key, &id, options))?;
        let uploads = files.create_uploads()?;
        if files.is_durable() {
            // Another process may have just created it and not synced it yet.
            match files.sync_parents(&Key::new(UPLOADS)?) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                synced => synced.map_err(failed)?,
            }
        }
        let dir = match files.create_dir(&uploads, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            created => created.map_err(failed)?,
        };
        match fill(&**files, &uploads, &dir, &record) {
            Ok(()) => return Ok(id),
            // A sweep has removed the directory before it was locked, or is about to: it has made
            // the lock file.
            Err(error) if is_swept(&error) => {}
            Err(error) => {
                let _ = remove_directory(&**files, &uploads, &dir, &name);
                return Err(failed(error));
            }
        }
    }
    Err(errors::directory_removed())
}

fn is_swept(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

fn fill<F: Files>(files: &F, uploads: &F::Dir, dir: &F::Dir, record: &[u8]) -> io::Result<()> {
    let lock = files.create_file(dir, LOCK, PRIVATE)?;
    // A sweep removes no directory whose lock is held.
    acquire(&lock, LockMode::Exclusive, &CallerAlive::default())?;
    for inner in [PARTS, BESIDE, LOCKS] {
        files.create_dir(dir, inner)?;
    }
    files.create_file(dir, DATA, files.new_file_mode() | PRIVATE)?;
    write_record(files, dir, RECORD, record)?;
    if files.is_durable() { files.sync_dir(uploads) } else { Ok(()) }
}
