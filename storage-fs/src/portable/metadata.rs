//! Finds the metadata of an open file: in its sidecar, or derived from the file itself.

use std::fs::File;
use std::io::Read;
use std::time::UNIX_EPOCH;

use cap_fs_ext::MetadataExt;
use cap_std::fs::Metadata;
use storage_core::{Key, ObjectMeta, Result, content_type};

use super::io_error::{io_error, means_absent};
use super::root::META;
use super::shared::Shared;
use super::{platform, sidecar};
use crate::errors;
use crate::record::meta_without_record;
use crate::version::{Version, foreign_etag};

/// How often a file may be replaced between opening it and reading its sidecar.
const MAX_ATTEMPTS: usize = 1000;

/// Returns the version of an open file. Windows reports the inode of open files only.
pub(crate) fn version_of(meta: &Metadata) -> Result<Version> {
    let time = meta.modified().map_err(|error| io_error(error, "reading the time of the file"))?;
    let time = time.into_std();
    let nanos = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    };
    Ok(Version { inode: meta.ino(), size: meta.len(), modified: nanos, time })
}

/// Opens a file and finds the metadata of exactly this version of it.
pub(crate) fn open_with_meta(shared: &Shared, key: &Key) -> Result<(File, ObjectMeta)> {
    let mut before: Option<Version> = None;
    for _ in 0..MAX_ATTEMPTS {
        let (file, status) = shared.root.open_file(key)?;
        let version = version_of(&status)?;
        let entry = sidecar::entry_of(shared, key, &version)?;
        let found = entry.and_then(|entry| Some((entry.record.metadata()?, entry.record)));
        if let Some((metadata, record)) = found {
            let mut meta = meta_without_record(key, &version);
            meta.metadata = metadata;
            meta.etag = Some(record.etag()?);
            meta.checksums = record.checksums();
            return Ok((file, meta));
        }
        // If the next attempt opens the same version without a record, it has none. Otherwise the
        // file was replaced after it was opened, and its record with it.
        if before == Some(version) || !has_sidecars(shared) {
            let meta = foreign_meta(key, &file, &status, &version)?;
            return Ok((file, meta));
        }
        before = Some(version);
    }
    Err(errors::object_replaced())
}

/// Returns whether the directory of sidecars exists or may exist. Without it, no record can have
/// been removed.
fn has_sidecars(shared: &Shared) -> bool {
    !matches!(shared.root.open_directory(META), Err(error) if means_absent(&error))
}

/// Returns the metadata of a file that another program wrote. The content type follows from the
/// key, or else from the first bytes.
fn foreign_meta(
    key: &Key,
    file: &File,
    status: &Metadata,
    version: &Version,
) -> Result<ObjectMeta> {
    let mut meta = meta_without_record(key, version);
    meta.etag = Some(foreign_etag(version, platform::changed(status))?);
    meta.metadata.content_type = Some(if content_type::is_determined_by_key(key) {
        content_type::of_key(key)
    } else {
        let mut start = Vec::new();
        file.take(content_type::SNIFF_BYTES as u64)
            .read_to_end(&mut start)
            .and_then(|_| std::io::Seek::rewind(&mut &*file))
            .map_err(|error| io_error(error, "reading the file"))?;
        content_type::of_bytes(key, &start)
    });
    Ok(meta)
}
