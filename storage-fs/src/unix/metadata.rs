//! Metadata on disk: stores the record of a staged file, and finds that of an open file.
//!
//! A record is stored before its file is put in its place, so both become visible together. It
//! contains the [`Version`] of its file, and is stored in one of two places:
//!
//! - In the extended attribute `user.anystorage`, which is part of the inode. If another program
//!   changes the file in place, the headers still apply, but the ETag and the checksums do not.
//! - In a [sidecar](super::sidecar).

use std::os::fd::OwnedFd;

use rustix::fs::{self, Stat, XattrFlags};
use rustix::io::Errno;
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result, content_type};

use super::errno::{means_absent, os_error};
use super::shared::Shared;
use super::sidecar::{self, RecordPlace};
use super::staged::Staged;
use super::state_dir::META;
use super::version::{Version, foreign_etag};
use crate::errors;
use crate::record::{self, Record, SidecarEntry, decode, encode};
use crate::settings::MetadataStore;

/// The name of the extended attribute. It is short, because name and record share the little room
/// in an inode.
const ATTRIBUTE: &str = "user.anystorage";

/// More bytes than any record has (64 KiB). Another program wrote a larger attribute.
const MAX_ATTRIBUTE_BYTES: usize = 64 * 1024;

/// How often a file may be replaced between opening it and reading its sidecar.
const MAX_ATTEMPTS: usize = 1000;

/// Stores the record of a staged file in the file, if the settings and the file system allow that.
///
/// With `metadata = "xattr"`, fails with `Unsupported` if the file system has no extended
/// attributes, and with `InvalidInput` if the record is too large for one.
pub(crate) fn store_record(
    store: MetadataStore,
    staged: &Staged,
    inode: u64,
    record: Record,
) -> Result<RecordPlace> {
    if store == MetadataStore::Sidecar {
        return Ok(RecordPlace::ForSidecar(Box::new(SidecarEntry { inode, record })));
    }
    let bytes = encode(&record)?;
    match fs::fsetxattr(staged.fd(), ATTRIBUTE, &bytes, XattrFlags::empty()) {
        Ok(()) => Ok(RecordPlace::InFile),
        // ext4 returns NOSPC both if the attributes of a file exceed one block and if the disk is
        // full. On a full disk, writing the sidecar fails with the right error.
        Err(Errno::NOTSUP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE)
            if store == MetadataStore::Auto =>
        {
            // A completion of the same upload that failed may have left one, which would hide the
            // sidecar. Without an attribute this fails.
            let _ = fs::fremovexattr(staged.fd(), ATTRIBUTE);
            Ok(RecordPlace::ForSidecar(Box::new(SidecarEntry { inode, record })))
        }
        Err(Errno::NOTSUP) => Err(Error::unsupported(
            "this file system has no extended attributes: set metadata = \"sidecar\" or \"auto\"",
        )),
        Err(Errno::TOOBIG | Errno::RANGE) => Err(too_large()),
        Err(Errno::NOSPC) if has_free_space(staged) => Err(too_large()),
        Err(errno) => Err(os_error(errno, "writing the metadata")),
    }
}

fn too_large() -> Error {
    let message = "the metadata is too large for this file system's extended attributes: set \
                   metadata = \"auto\"";
    Error::new(ErrorKind::InvalidInput, message)
}

/// Returns whether the file system of a file has free blocks for this user.
fn has_free_space(staged: &Staged) -> bool {
    fs::fstatvfs(staged.fd()).is_ok_and(|about| about.f_bavail > 0)
}

/// Opens a file and finds the metadata of exactly this version of it.
pub(crate) fn open_with_meta(shared: &Shared, key: &Key) -> Result<(OwnedFd, ObjectMeta)> {
    let mut before: Option<Version> = None;
    for _ in 0..MAX_ATTEMPTS {
        let (file, stat) = shared.root.open_file(key)?;
        let version = Version::of(&stat);
        match find(shared, key, &file, &stat)? {
            MetaLookup::Found(meta) => return Ok((file, meta)),
            // If the next attempt opens the same version without a record, it has none. Otherwise
            // the file was replaced after it was opened, and its record with it.
            MetaLookup::Uncertain if before.is_none_or(|before| before != version) => {
                before = Some(version);
            }
            MetaLookup::NoRecord | MetaLookup::Uncertain => {
                let meta = foreign_meta(key, &file, &stat)?;
                return Ok((file, meta));
            }
        }
    }
    Err(errors::object_replaced())
}

/// Returns the metadata from the extended attribute of an open file, or `None` if it has no valid
/// one.
pub(crate) fn meta_in_file(key: &Key, file: &OwnedFd, stat: &Stat) -> Result<Option<ObjectMeta>> {
    let Some(record) = read_attribute(file)? else { return Ok(None) };
    let is_unchanged = record.matches(&Version::of(stat));
    meta_from(key, stat, &record, is_unchanged)
}

/// The result of searching the metadata of an open file.
#[allow(clippy::large_enum_variant, reason = "returned and matched at once")]
enum MetaLookup {
    Found(ObjectMeta),
    /// Another program wrote the file.
    NoRecord,
    /// The key's sidecar has no record of this version. Either another program wrote the file, or
    /// the file was replaced after it was opened and its record was removed.
    Uncertain,
}

fn find(shared: &Shared, key: &Key, file: &OwnedFd, stat: &Stat) -> Result<MetaLookup> {
    if let Some(meta) = meta_in_file(key, file, stat)? {
        return Ok(MetaLookup::Found(meta));
    }
    if shared.metadata == MetadataStore::Xattr {
        return Ok(MetaLookup::NoRecord);
    }
    let entry = sidecar::entry_of(shared, key, stat)?;
    if let Some(meta) =
        entry.map(|entry| meta_from(key, stat, &entry.record, true)).transpose()?.flatten()
    {
        return Ok(MetaLookup::Found(meta));
    }
    // Without a directory of sidecars, no record can have been removed.
    match shared.root.open_directory(META) {
        Err(errno) if means_absent(errno) => Ok(MetaLookup::NoRecord),
        _ => Ok(MetaLookup::Uncertain),
    }
}

/// Returns the metadata of a file that another program wrote. The content type follows from the
/// key, or else from the first bytes.
fn foreign_meta(key: &Key, file: &OwnedFd, stat: &Stat) -> Result<ObjectMeta> {
    let mut meta = meta_without_record(key, stat);
    meta.etag = Some(foreign_etag(stat)?);
    meta.metadata.content_type = Some(if content_type::is_determined_by_key(key) {
        content_type::of_key(key)
    } else {
        let mut start = Vec::with_capacity(content_type::SNIFF_BYTES);
        rustix::io::pread(file, rustix::buffer::spare_capacity(&mut start), 0)
            .map_err(|errno| os_error(errno, "reading the file"))?;
        content_type::of_bytes(key, &start)
    });
    Ok(meta)
}

/// Returns the metadata from a record, or `None` if the record is invalid. `is_unchanged` means
/// that the file is exactly the version of the record, so that its ETag and checksums apply.
fn meta_from(
    key: &Key,
    stat: &Stat,
    record: &Record,
    is_unchanged: bool,
) -> Result<Option<ObjectMeta>> {
    let Some(metadata) = record.metadata() else { return Ok(None) };
    let mut meta = meta_without_record(key, stat);
    meta.metadata = metadata;
    if is_unchanged {
        meta.etag = Some(record.etag()?);
        meta.checksums = record.checksums();
    } else {
        meta.etag = Some(foreign_etag(stat)?);
    }
    Ok(Some(meta))
}

fn meta_without_record(key: &Key, stat: &Stat) -> ObjectMeta {
    record::meta_without_record(key, &Version::of(stat))
}

fn read_attribute(file: &OwnedFd) -> Result<Option<Record>> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        match fs::fgetxattr(file, ATTRIBUTE, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(_) => return Ok(decode(&bytes)),
            Err(Errno::RANGE) if bytes.capacity() < MAX_ATTRIBUTE_BYTES => {
                bytes.reserve(MAX_ATTRIBUTE_BYTES);
            }
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => return Ok(None),
            Err(errno) => return Err(os_error(errno, "reading the metadata")),
        }
    }
}
