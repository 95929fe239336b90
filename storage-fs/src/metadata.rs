//! Metadata on disk: the record, and the two places where it is kept.
//!
//! A record is written before its file is renamed into place, so the two appear together. It holds
//! the version ([`Version`]) of the file that it belongs to:
//!
//! - In the extended attribute `user.anystorage` it is part of the inode. If another program has
//!   changed the file in place since, the headers still hold, but the ETag and the checksums do
//!   not.
//! - A sidecar, `.anystorage/meta/<SHA-256 of the key>`, holds the records of the present version
//!   and of the one before, so that there is no moment in which the file in place has none. Only
//!   the record of the exact version counts: a sidecar is never mistaken for that of another
//!   version.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, UNIX_EPOCH};

use hmac_sha256::Hash;
use rustix::fs::{self, AtFlags, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage_core::{
    Checksum, ChecksumAlgorithm, Checksums, ETag, Error, ErrorKind, Key, Metadata, ObjectMeta,
    Result, content_type,
};

use crate::config::MetadataStore;
use crate::driver::Shared;
use crate::errors::{self, means_absent};
use crate::own::{MAX_TRIES, META};
use crate::staged::{Id, Staged, hex};
use crate::version::{Version, foreign_etag};

/// The extended attribute. Its name is short because it shares the little room in an inode with the
/// record.
const ATTRIBUTE: &str = "user.anystorage";

/// The first byte of a record, to be counted up when its form changes.
const FORM: u8 = 1;

/// More than any record has; a larger sidecar is not ours.
const MAX_SIDECAR_BYTES: usize = 64 * 1024;

/// All that we keep of one version of a file. The order of the fields is the form on disk.
///
/// Small, since an inode of ext4 has room for about 60 bytes; for a larger record the file system
/// needs another block, to be written and read with the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    size: u64,
    modified: i64,
    etag: Id,
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_disposition: Option<String>,
    content_language: Option<String>,
    cache_control: Option<String>,
    /// Unix time.
    expires: Option<u64>,
    user_metadata: Vec<(String, String)>,
    checksums: Vec<(u8, Vec<u8>)>,
}

impl Record {
    pub(crate) fn new(
        version: &Version,
        etag: Id,
        metadata: &Metadata,
        checksums: &Checksums,
    ) -> Self {
        let expires = metadata.expires.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            size: version.size,
            modified: version.modified,
            etag,
            content_type: metadata.content_type.clone(),
            content_encoding: metadata.content_encoding.clone(),
            content_disposition: metadata.content_disposition.clone(),
            content_language: metadata.content_language.clone(),
            cache_control: metadata.cache_control.clone(),
            expires: expires.map(|since| since.as_secs()),
            user_metadata: metadata.user_metadata.clone().into_iter().collect(),
            checksums: checksums
                .iter()
                .map(|sum| (number_of(sum.algorithm()), sum.value().to_vec()))
                .collect(),
        }
    }

    pub(crate) fn etag(&self) -> Result<ETag> {
        ETag::strong(hex(&self.etag))
    }

    /// Whether a file is as it was when the record was written, as far as size and time tell.
    fn is_of(&self, version: &Version) -> bool {
        self.size == version.size && self.modified == version.modified
    }

    /// The metadata, if it is such as the contract allows: a record may have been planted.
    fn metadata(&self) -> Option<Metadata> {
        // An empty value is an absent one, as it is in headers.
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let mut metadata = Metadata::new();
        metadata.content_type = set(&self.content_type);
        metadata.content_encoding = set(&self.content_encoding);
        metadata.content_disposition = set(&self.content_disposition);
        metadata.content_language = set(&self.content_language);
        metadata.cache_control = set(&self.cache_control);
        metadata.expires =
            self.expires.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        metadata.user_metadata = self.user_metadata.iter().cloned().collect();
        metadata.validated().ok()
    }

    fn checksums(&self) -> Checksums {
        let known = self.checksums.iter().filter_map(|(number, value)| {
            Checksum::new(algorithm_of(*number)?, value.clone()).ok()
        });
        known.collect()
    }
}

/// A record in a sidecar, which has to tell the file too.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    inode: u64,
    record: Record,
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_extend(value, vec![FORM])
        .map_err(|cause| Error::unexpected("the metadata cannot be encoded", cause))
}

/// `None` for what we have not written: another program's, or a later form of ours.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&FORM, value)) => postcard::take_from_bytes(value)
            .ok()
            .filter(|(_, rest)| rest.is_empty())
            .map(|(value, _)| value),
        _ => None,
    }
}

fn number_of(algorithm: ChecksumAlgorithm) -> u8 {
    match algorithm {
        ChecksumAlgorithm::Md5 => 1,
        ChecksumAlgorithm::Crc64Nvme => 2,
        // SHA-256; another algorithm of a later version would fail the length check on reading.
        _ => 0,
    }
}

fn algorithm_of(number: u8) -> Option<ChecksumAlgorithm> {
    match number {
        0 => Some(ChecksumAlgorithm::Sha256),
        1 => Some(ChecksumAlgorithm::Md5),
        2 => Some(ChecksumAlgorithm::Crc64Nvme),
        _ => None,
    }
}

/// Where the record of a staged file has gone, or has yet to go.
pub(crate) enum Kept {
    /// It is part of the file.
    InFile,
    /// It has to be put into the key's sidecar right before the file is renamed.
    ForSidecar(Box<Entry>),
}

/// Keeps the record of a staged file, as far as that can be done before its place is settled.
pub(crate) fn keep(
    store: MetadataStore,
    staged: &Staged,
    inode: u64,
    record: Record,
) -> Result<Kept> {
    if store == MetadataStore::Sidecar {
        return Ok(Kept::ForSidecar(Box::new(Entry { inode, record })));
    }
    let bytes = encode(&record)?;
    match fs::fsetxattr(staged.fd(), ATTRIBUTE, &bytes, XattrFlags::empty()) {
        Ok(()) => Ok(Kept::InFile),
        // "No space" may mean the room for attributes in an inode as well as the disk; on a full
        // disk the sidecar fails too, and says so.
        Err(Errno::NOTSUP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE)
            if store == MetadataStore::Auto =>
        {
            Ok(Kept::ForSidecar(Box::new(Entry { inode, record })))
        }
        Err(Errno::NOTSUP) => Err(Error::unsupported(
            "this file system keeps no extended attributes: set metadata = \"sidecar\" or \"auto\"",
        )),
        Err(Errno::TOOBIG | Errno::RANGE) => Err(Error::new(
            ErrorKind::InvalidInput,
            "the metadata is too large for this file system's extended attributes: set metadata = \"auto\"",
        )),
        Err(errno) => Err(errors::os(errno, "writing the metadata")),
    }
}

/// Puts the record of a version that is about to be renamed into place into the key's sidecar,
/// beside the one of the version that is in place now. The caller holds the key's lock exclusively.
pub(crate) fn write_sidecar(
    fs: &Shared,
    key: &Key,
    new: &Entry,
    present: Option<&Entry>,
) -> Result<()> {
    let entries: Vec<_> = std::iter::once(new).chain(present).collect();
    let mut staged = Staged::create(&fs.staging, key, fs.file_mode.of_new_file())?;
    staged.write(&encode(&entries)?)?;
    if fs.durable {
        staged.sync()?;
    }
    staged.give_name(&fs.staging)?;
    for _ in 0..MAX_TRIES {
        let meta = fs.staging.meta_directory()?;
        match staged.place_over(meta.as_fd(), &sidecar_name(key)) {
            // Removed, empty as it was, by another process that is done with it.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errors::os(errno, "renaming the sidecar into place")),
            Ok(()) if fs.durable => {
                let synced = rustix::fs::fsync(&meta);
                return synced
                    .map_err(|errno| errors::os(errno, "syncing the directory of sidecars"));
            }
            Ok(()) => return Ok(()),
        }
    }
    Err(errors::removed())
}

/// What a key's sidecar holds of the file in place.
pub(crate) fn in_sidecar(fs: &Shared, key: &Key, stat: &Stat) -> Result<Option<Entry>> {
    Ok(find(read_sidecar(fs, key)?, stat))
}

/// Returns whether a key has a sidecar. The caller holds the key's lock.
pub(crate) fn has_sidecar(fs: &Shared, key: &Key) -> Result<bool, Errno> {
    let meta = fs.root.open_directory(META);
    match meta
        .and_then(|meta| rustix::fs::statat(&meta, sidecar_name(key), AtFlags::SYMLINK_NOFOLLOW))
    {
        Ok(_) => Ok(true),
        Err(errno) if means_absent(errno) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a key's sidecar, if it has one. The caller holds the key's lock.
pub(crate) fn remove_sidecar(fs: &Shared, key: &Key) {
    if let Ok(meta) = fs.root.open_directory(META) {
        // One that is left is never taken for that of another version.
        let _ = rustix::fs::unlinkat(&meta, sidecar_name(key), AtFlags::empty());
    }
}

/// What is known of an open file.
#[allow(clippy::large_enum_variant, reason = "answered and taken apart at once")]
pub(crate) enum Found {
    /// Everything.
    Meta(ObjectMeta),
    /// Another program wrote the file.
    NoRecord,
    /// The key's sidecar does not know this version: either another program wrote the file, or it
    /// was replaced after it was opened and its record has gone.
    Unsure,
}

/// The metadata that an open file carries itself; `None` if it carries none that we would have
/// written.
pub(crate) fn meta_in_file(key: &Key, file: &OwnedFd, stat: &Stat) -> Result<Option<ObjectMeta>> {
    let Some(record) = read_attribute(file)? else { return Ok(None) };
    let whole = record.is_of(&Version::of(stat));
    meta_of(key, stat, &record, whole)
}

/// Finds the record of an open file.
pub(crate) fn find_meta(fs: &Shared, key: &Key, file: &OwnedFd, stat: &Stat) -> Result<Found> {
    if let Some(meta) = meta_in_file(key, file, stat)? {
        return Ok(Found::Meta(meta));
    }
    if fs.metadata == MetadataStore::Xattr {
        return Ok(Found::NoRecord);
    }
    let entry = in_sidecar(fs, key, stat)?;
    if let Some(meta) =
        entry.map(|entry| meta_of(key, stat, &entry.record, true)).transpose()?.flatten()
    {
        return Ok(Found::Meta(meta));
    }
    // As a rule there are no sidecars at all, and so nothing that could have gone.
    match fs.root.open_directory(META) {
        Err(errno) if means_absent(errno) => Ok(Found::NoRecord),
        _ => Ok(Found::Unsure),
    }
}

/// What can be told of a file that another program wrote.
pub(crate) fn foreign_meta(key: &Key, file: &OwnedFd, stat: &Stat) -> Result<ObjectMeta> {
    let mut meta = blank(key, stat);
    meta.etag = Some(foreign_etag(stat)?);
    meta.metadata.content_type = Some(if content_type::is_told_by_key(key) {
        content_type::of_key(key)
    } else {
        let mut start = Vec::with_capacity(content_type::SNIFF_BYTES);
        rustix::io::pread(file, rustix::buffer::spare_capacity(&mut start), 0)
            .map_err(|errno| errors::os(errno, "reading the file"))?;
        content_type::of_bytes(key, &start)
    });
    Ok(meta)
}

/// The metadata that a record tells of a file; `whole` if the file is exactly the version that it
/// was written for. `None` if the record does not hold what we would have written.
fn meta_of(key: &Key, stat: &Stat, record: &Record, whole: bool) -> Result<Option<ObjectMeta>> {
    let Some(metadata) = record.metadata() else { return Ok(None) };
    let mut meta = blank(key, stat);
    meta.metadata = metadata;
    if whole {
        meta.etag = Some(record.etag()?);
        meta.checksums = record.checksums();
    } else {
        meta.etag = Some(foreign_etag(stat)?);
    }
    Ok(Some(meta))
}

fn blank(key: &Key, stat: &Stat) -> ObjectMeta {
    let version = Version::of(stat);
    let mut meta = ObjectMeta::new(key.clone(), version.size);
    meta.last_modified = Some(version.modified_time());
    meta
}

fn find(entries: Vec<Entry>, stat: &Stat) -> Option<Entry> {
    let version = Version::of(stat);
    entries.into_iter().find(|entry| entry.inode == version.inode && entry.record.is_of(&version))
}

fn read_attribute(file: &OwnedFd) -> Result<Option<Record>> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        match fs::fgetxattr(file, ATTRIBUTE, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(_) => return Ok(decode(&bytes)),
            Err(Errno::RANGE) if bytes.capacity() < MAX_SIDECAR_BYTES => {
                bytes.reserve(MAX_SIDECAR_BYTES)
            }
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => return Ok(None),
            Err(errno) => return Err(errors::os(errno, "reading the metadata")),
        }
    }
}

fn sidecar_name(key: &Key) -> String {
    hex(&Hash::hash(key.as_str().as_bytes()))
}

fn read_sidecar(fs: &Shared, key: &Key) -> Result<Vec<Entry>> {
    let path = format!("{}/{}", META, sidecar_name(key));
    let mut bytes = Vec::with_capacity(MAX_SIDECAR_BYTES);
    let read = fs.root.open_below(&path, OFlags::RDONLY | OFlags::NONBLOCK).and_then(|sidecar| {
        rustix::io::pread(&sidecar, rustix::buffer::spare_capacity(&mut bytes), 0)
    });
    match read {
        Ok(_) => Ok(decode(&bytes).unwrap_or_default()),
        Err(errno) if means_absent(errno) => Ok(Vec::new()),
        Err(errno) => Err(errors::os(errno, "reading the metadata")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_in_a_record_is_an_absent_one() {
        let version = Version { size: 1, modified: 2, inode: 3, time: UNIX_EPOCH };
        let mut record = Record::new(
            &version,
            Id::default(),
            &Metadata::new().user("a", "b"),
            &Checksums::new(),
        );
        record.content_encoding = Some(String::new());
        record.cache_control = Some(String::new());
        assert_eq!(record.metadata(), Some(Metadata::new().user("a", "b")));
    }
}
