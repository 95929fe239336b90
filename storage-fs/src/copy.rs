//! The parts of `copy` that both implementations share: how a copy is saved, and copying the bytes.

use std::fs::File;
use std::io::{self, Read};

use storage_core::{
    CopyMode, CopyOptions, Error, ErrorKind, Metadata, MetadataDirective, ObjectMeta, Result,
    SaveMode,
};

use crate::blocking::CallerAlive;

/// How often an object may be replaced while it is copied onto itself.
pub(crate) const MAX_ATTEMPTS: usize = 100;

/// How many bytes are copied between two checks for a cancelled caller: 64 MiB.
const STEP: u64 = 64 * 1024 * 1024;

/// How the bytes of a source are saved under the destination.
pub(crate) struct CopyPlan<'a> {
    pub(crate) mode: SaveMode,
    pub(crate) metadata: &'a Metadata,
}

impl<'a> CopyPlan<'a> {
    /// Returns the plan, or `None` if the copy changes nothing. `same_key` is whether source and
    /// destination are the same object.
    pub(crate) fn new(
        source: &'a ObjectMeta,
        same_key: bool,
        options: &'a CopyOptions,
    ) -> Option<Self> {
        let onto_itself = same_key && options.mode == CopyMode::Overwrite;
        let metadata = match &options.metadata {
            MetadataDirective::Replace(metadata) => metadata,
            _ if onto_itself => return None,
            _ => &source.metadata,
        };
        let strong_etag = source.etag.clone().filter(|etag| !etag.is_weak());
        let mode = match (&options.mode, strong_etag) {
            (CopyMode::CreateNew, _) => SaveMode::CreateNew,
            // Without the condition, this would undo a save that happens during the copy.
            (_, Some(etag)) if onto_itself => SaveMode::IfMatch(etag),
            _ => SaveMode::Overwrite,
        };
        Some(Self { mode, metadata })
    }
}

/// Copies a file, which was opened in this version. The system copies the bytes (`copy_file_range`
/// on Linux, a reflink where possible).
///
/// # Errors
/// `Integrity` if the file has another size or time of change by now: the bytes may be of two
/// versions.
pub(crate) fn copy_bytes(
    mut source: File,
    mut to: impl io::Write,
    opened: &ObjectMeta,
    caller: &CallerAlive,
) -> Result<()> {
    let mut copied = 0;
    loop {
        caller.check()?;
        let step = io::copy(&mut source.by_ref().take(STEP), &mut to)?;
        copied += step;
        if step < STEP {
            break;
        }
    }
    let changed = source.metadata()?.modified().ok();
    if copied == opened.size && (changed == opened.last_modified || changed.is_none()) {
        return Ok(());
    }
    let message = "another program changed the source while it was copied";
    Err(Error::new(ErrorKind::Integrity, message).with_retryable(true))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, SystemTime};

    use storage_core::Key;

    use super::*;

    #[test]
    fn bytes_of_a_file_that_was_written_in_place_since_it_was_opened_are_not_copied() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        let mut opened = ObjectMeta::new(Key::new("a").unwrap(), 5);
        opened.last_modified = file.metadata().unwrap().modified().ok();
        let copy = |opened: &ObjectMeta| {
            let source = file.try_clone().unwrap();
            copy_bytes(source, io::sink(), opened, &CallerAlive::default())
        };
        io::Seek::rewind(&mut &file).unwrap();
        copy(&opened).unwrap();
        io::Seek::rewind(&mut &file).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
        let error = copy(&opened).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Integrity, true), "{error}");
    }
}
