//! `copy`: copies the bytes into a staged file, which is committed like a save.

use std::fs::File;
use std::sync::Arc;

use storage_core::{CopyOptions, ErrorKind, Key, ObjectMeta, Result};

use super::commit::Commit;
use super::metadata;
use super::shared::Shared;
use super::staged::Staged;
use crate::blocking::CallerAlive;
use crate::copy::{CopyPlan, MAX_ATTEMPTS, copy_bytes};
use crate::errors;

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
    (source, meta): (File, ObjectMeta),
    to: &Key,
    options: &CopyOptions,
    caller: &CallerAlive,
) -> Result<()> {
    let Some(CopyPlan { mode, metadata }) = CopyPlan::new(&meta, from == to, options) else {
        return Ok(());
    };
    let staged = Staged::create(&shared.staging, shared.file_mode.of_new_file())?;
    staged.lock();
    copy_bytes(source, staged.file(), &meta, caller)?;
    let checksums = meta.checksums.clone();
    Commit { shared, key: to, mode: &mode, metadata, checksums, caller }.run(staged).map(drop)
}
