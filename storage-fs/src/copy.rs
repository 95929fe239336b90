//! `copy`: by the file system's own means (`copy_file_range`: a reflink where there are any), staged and committed like
//! a save.

use std::fs::File;
use std::io::{self, Read};

use storage_core::{CopyMode, CopyOptions, Error, ErrorKind, Key, MetadataDirective, ObjectMeta, Result, SaveMode};

use crate::blocking::Waiting;
use crate::commit::Commit;
use crate::driver::Shared;
use crate::open;
use crate::staged::Staged;

/// How much is copied before it is asked whether the caller still waits.
const STEP: u64 = 64 * 1024 * 1024;

pub(crate) fn copy(fs: &Shared, from: &Key, to: &Key, options: &CopyOptions, waiting: &Waiting) -> Result<ObjectMeta> {
    let (source, meta) = open::open_with_meta(fs, from)?;
    let mode = match options.mode {
        CopyMode::CreateNew => SaveMode::CreateNew,
        _ => SaveMode::Overwrite,
    };
    let metadata = match &options.metadata {
        MetadataDirective::Replace(metadata) => metadata,
        _ if from == to && mode == SaveMode::Overwrite => return Ok(meta),
        _ => &meta.metadata,
    };
    let mut staged = Staged::create(&fs.staging, to, fs.file_mode)?;
    staged.lock();
    copy_bytes(File::from(source), &mut staged, meta.size, waiting)?;
    Commit { fs, key: to, mode: &mode, metadata, checksums: meta.checksums.clone(), waiting }.run(staged)
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
