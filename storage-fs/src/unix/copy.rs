//! `copy`: the system copies the bytes (`copy_file_range`, a reflink where possible) into a staged
//! file, which is committed like a save.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use storage_core::{
    CopyMode, CopyOptions, Error, ErrorKind, Key, MetadataDirective, ObjectMeta, Result, SaveMode,
};

use super::commit::Commit;
use super::metadata;
use super::shared::Shared;
use super::staged::Staged;
use crate::blocking::CallerAlive;
use crate::errors;

/// How many bytes are copied between two checks for a cancelled caller: 64 MiB.
const STEP: u64 = 64 * 1024 * 1024;

/// How often an object may be replaced while it is copied onto itself.
const MAX_ATTEMPTS: usize = 100;

pub(crate) async fn copy(
    shared: &Arc<Shared>,
    from: &Key,
    to: &Key,
    options: &CopyOptions,
) -> Result<()> {
    shared.root.check(from)?;
    shared.root.check_new(to)?;
    let (from, to, options) = (from.clone(), to.clone(), options.clone());
    shared
        .run(move |shared, caller| {
            for _ in 0..MAX_ATTEMPTS {
                let source = metadata::open_with_meta(shared, &from)?;
                options.check_source(&source.1)?;
                match copy_once(shared, &from, source, &to, &options, caller) {
                    // The object was replaced while its bytes were copied onto itself: the new
                    // bytes must get the metadata.
                    Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
                    copied => return copied,
                }
            }
            Err(errors::object_replaced())
        })
        .await
}

fn copy_once(
    shared: &Shared,
    from: &Key,
    (source, meta): (OwnedFd, ObjectMeta),
    to: &Key,
    options: &CopyOptions,
    caller: &CallerAlive,
) -> Result<()> {
    let onto_itself = from == to && options.mode == CopyMode::Overwrite;
    let metadata = match &options.metadata {
        MetadataDirective::Replace(metadata) => metadata,
        _ if onto_itself => return Ok(()),
        _ => &meta.metadata,
    };
    let mode =
        match (&options.mode, meta.etag.clone().filter(|etag| onto_itself && !etag.is_weak())) {
            (CopyMode::CreateNew, _) => SaveMode::CreateNew,
            // Without the condition, this would undo a save that happens during the copy.
            (_, Some(etag)) => SaveMode::IfMatch(etag),
            _ => SaveMode::Overwrite,
        };
    let mut staged = Staged::create(&shared.staging, to, shared.file_mode.of_new_file())?;
    staged.lock();
    copy_bytes(File::from(source), &mut staged, meta.size, caller)?;
    let checksums = meta.checksums.clone();
    Commit { shared, key: to, mode: &mode, metadata, checksums, caller }.run(staged).map(drop)
}

fn copy_bytes(
    mut source: File,
    staged: &mut Staged,
    size: u64,
    caller: &CallerAlive,
) -> Result<()> {
    let mut copied = 0;
    loop {
        caller.check()?;
        let step = io::copy(&mut source.by_ref().take(STEP), staged.file())?;
        copied += step;
        if step < STEP {
            break;
        }
    }
    if copied == size {
        return Ok(());
    }
    let message = "another program changed the size of the source while it was copied";
    Err(Error::new(ErrorKind::Integrity, message).with_retryable(true))
}
