//! `copy`: by the file system's own means (`copy_file_range`: a reflink where there are any),
//! staged and committed like a save.

use std::fs::File;
use std::io::{self, Read};

use storage_core::{
    CopyMode, CopyOptions, Error, ErrorKind, Key, MetadataDirective, Result, SaveMode,
};

use crate::blocking::Waiting;
use crate::commit::Commit;
use crate::driver::Shared;
use crate::errors;
use crate::open;
use crate::staged::Staged;

/// How much is copied before it is asked whether the caller still waits.
const STEP: u64 = 64 * 1024 * 1024;

/// How often an object may be replaced while it is copied onto itself.
const MAX_TRIES: usize = 100;

pub(crate) fn copy(
    fs: &Shared,
    from: &Key,
    to: &Key,
    options: &CopyOptions,
    waiting: &Waiting,
) -> Result<()> {
    for _ in 0..MAX_TRIES {
        match try_copy(fs, from, to, options, waiting) {
            // The object was replaced while its bytes were copied onto itself: the new ones are to
            // have the metadata.
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            copied => return copied,
        }
    }
    Err(errors::replaced())
}

fn try_copy(
    fs: &Shared,
    from: &Key,
    to: &Key,
    options: &CopyOptions,
    waiting: &Waiting,
) -> Result<()> {
    let (source, meta) = open::open_with_meta(fs, from)?;
    let onto_itself = from == to && options.mode == CopyMode::Overwrite;
    let metadata = match &options.metadata {
        MetadataDirective::Replace(metadata) => metadata,
        _ if onto_itself => return Ok(()),
        _ => &meta.metadata,
    };
    let mode =
        match (&options.mode, meta.etag.clone().filter(|etag| onto_itself && !etag.is_weak())) {
            (CopyMode::CreateNew, _) => SaveMode::CreateNew,
            // Else a save that comes in between would be undone.
            (_, Some(etag)) => SaveMode::IfMatch(etag),
            _ => SaveMode::Overwrite,
        };
    let mut staged = Staged::create(&fs.staging, to, fs.file_mode.of_new_file())?;
    staged.lock();
    copy_bytes(File::from(source), &mut staged, meta.size, waiting)?;
    Commit { fs, key: to, mode: &mode, metadata, checksums: meta.checksums.clone(), waiting }
        .run(staged)
        .map(drop)
}

fn copy_bytes(mut source: File, staged: &mut Staged, size: u64, waiting: &Waiting) -> Result<()> {
    let mut copied = 0;
    loop {
        waiting.check()?;
        let step = io::copy(&mut source.by_ref().take(STEP), staged.file())?;
        copied += step;
        if step < STEP {
            break;
        }
    }
    if copied == size {
        return Ok(());
    }
    let message = "another program changed the source's size while it was copied";
    Err(Error::new(ErrorKind::Integrity, message).with_retryable(true))
}
