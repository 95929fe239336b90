//! Metadata on disk: the record, and the two places where it is kept.
//!
//! A record is written before its file is renamed into place, so the two appear together. It holds the version
//! ([`Version`]) of the file that it belongs to:
//!
//! - In the extended attribute `user.anystorage` it is part of the inode. If another program has changed the file in
//!   place since, the headers still hold, but the ETag and the checksums do not.
//! - A sidecar, `.anystorage/meta/<SHA-256 of the key>`, holds the records of the present version and of the one
//!   before, so that there is no moment in which the file in place has none. Only the record of the exact version
//!   counts: a sidecar is never mistaken for that of another version.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{self, AtFlags, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use storage_core::{
    Checksum, ChecksumAlgorithm, Checksums, ETag, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, content_type,
};

use crate::config::MetadataStore;
use crate::driver::Shared;
use crate::errors::{self, means_absent};
use crate::staging::Staged;
use crate::version::{Version, foreign_etag};

/// The extended attribute. Its name is short because it shares the little room in an inode with the record.
const ATTRIBUTE: &str = "user.anystorage";

/// The first byte of a record, to be counted up when its form changes.
const FORM: u8 = 1;

/// More than any record has; a larger sidecar is not ours.
const MAX_SIDECAR_BYTES: usize = 64 * 1024;

/// All that we keep of one version of a file. The order of the fields is the form on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: Version,
    etag: String,
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
    pub(crate) fn new(version: Version, etag: String, metadata: &Metadata, checksums: &Checksums) -> Self {
        let expires = metadata.expires.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            version,
            etag,
            content_type: metadata.content_type.clone(),
            content_encoding: metadata.content_encoding.clone(),
            content_disposition: metadata.content_disposition.clone(),
            content_language: metadata.content_language.clone(),
            cache_control: metadata.cache_control.clone(),
            expires: expires.map(|since| since.as_secs()),
            user_metadata: metadata.user_metadata.clone().into_iter().collect(),
            checksums: checksums.iter().map(|sum| (number_of(sum.algorithm()), sum.value().to_vec())).collect(),
        }
    }

    /// The metadata, if it is such as the contract allows: a record may have been planted.
    fn metadata(&self) -> Option<Metadata> {
        let mut metadata = Metadata::new();
        metadata.content_type.clone_from(&self.content_type);
        metadata.content_encoding.clone_from(&self.content_encoding);
        metadata.content_disposition.clone_from(&self.content_disposition);
        metadata.content_language.clone_from(&self.content_language);
        metadata.cache_control.clone_from(&self.cache_control);
        metadata.expires = self.expires.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        metadata.user_metadata = self.user_metadata.iter().cloned().collect();
        metadata.validated().ok()
    }

    fn checksums(&self) -> Checksums {
        let known = self
            .checksums
            .iter()
            .filter_map(|(number, value)| Checksum::new(algorithm_of(*number)?, value.clone()).ok());
        known.collect()
    }

    fn encode(records: &[Self]) -> Result<Vec<u8>> {
        let mut bytes = vec![FORM];
        for record in records {
            bytes = postcard::to_extend(record, bytes)
                .map_err(|cause| Error::unexpected("the metadata cannot be encoded", cause))?;
        }
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Vec<Self> {
        let Some((&FORM, mut rest)) = bytes.split_first() else { return Vec::new() };
        let mut records = Vec::new();
        while let (false, Ok((record, left))) = (rest.is_empty(), postcard::take_from_bytes(rest)) {
            records.push(record);
            rest = left;
        }
        records
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
    ForSidecar(Record),
}

/// Keeps the record of a staged file, as far as that can be done before its place is settled.
pub(crate) fn keep(store: MetadataStore, staged: &Staged, record: Record) -> Result<Kept> {
    if store == MetadataStore::Sidecar {
        return Ok(Kept::ForSidecar(record));
    }
    let bytes = Record::encode(std::slice::from_ref(&record))?;
    match fs::fsetxattr(staged.fd(), ATTRIBUTE, &bytes, XattrFlags::empty()) {
        Ok(()) => Ok(Kept::InFile),
        // "No space" may mean the room for attributes in an inode as well as the disk; on a full disk the sidecar
        // fails too, and says so.
        Err(Errno::NOTSUP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) if store == MetadataStore::Auto => {
            Ok(Kept::ForSidecar(record))
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

/// Puts the record of a version that is about to be renamed into place into the key's sidecar, beside the one of the
/// version that is in place now. The caller holds the directory's lock alone.
pub(crate) fn write_sidecar(fs: &Shared, key: &Key, record: &Record, present: Option<&Stat>) -> Result<()> {
    let mut records = vec![record.clone()];
    if let Some(stat) = present {
        records.extend(find(read_sidecar(fs, key)?, stat));
    }
    let bytes = Record::encode(&records)?;
    let meta = fs.staging.meta_directory()?;
    let mut staged = Staged::create(&fs.staging)?;
    staged.write(&bytes)?;
    if fs.durable {
        staged.sync()?;
    }
    let placed = staged.rename_to(meta.as_fd(), &sidecar_name(key));
    placed.map_err(|errno| errors::os(errno, "renaming the sidecar into place"))?;
    if fs.durable {
        rustix::fs::fsync(&meta).map_err(|errno| errors::os(errno, "syncing the directory of sidecars"))?;
    }
    Ok(())
}

/// Removes a key's sidecar, if it has one.
pub(crate) fn remove_sidecar(fs: &Shared, key: &Key) {
    if fs.metadata == MetadataStore::Xattr {
        return;
    }
    if let Ok(meta) = fs.root.open_directory(crate::staging::META) {
        // One that is left is never taken for that of another version.
        let _ = rustix::fs::unlinkat(&meta, sidecar_name(key), AtFlags::empty());
    }
}

/// What is known of an open file.
pub(crate) enum Found {
    /// Everything.
    Meta(ObjectMeta),
    /// The file has no attribute, and the key's sidecar knows this version not: either another program wrote the file,
    /// or it was replaced after it was opened and its record has gone.
    NoRecord,
}

/// Finds the record of an open file.
pub(crate) fn find_meta(fs: &Shared, key: &Key, file: &OwnedFd, stat: &Stat) -> Result<Found> {
    if let Some(record) = read_attribute(file)? {
        let whole =
            record.version.size == Version::of(stat).size && record.version.modified == Version::of(stat).modified;
        if let Some(meta) = meta_of(key, stat, &record, whole)? {
            return Ok(Found::Meta(meta));
        }
    }
    if fs.metadata == MetadataStore::Xattr {
        return Ok(Found::NoRecord);
    }
    match find(read_sidecar(fs, key)?, stat) {
        Some(record) => Ok(meta_of(key, stat, &record, true)?.map_or(Found::NoRecord, Found::Meta)),
        None => Ok(Found::NoRecord),
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

/// The metadata that a record tells of a file; `whole` if the file is exactly the version that it was written for.
/// `None` if the record does not hold what we would have written.
fn meta_of(key: &Key, stat: &Stat, record: &Record, whole: bool) -> Result<Option<ObjectMeta>> {
    let Some(metadata) = record.metadata() else { return Ok(None) };
    let mut meta = blank(key, stat);
    meta.metadata = metadata;
    if whole {
        let Ok(etag) = ETag::strong(&record.etag) else { return Ok(None) };
        meta.etag = Some(etag);
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

fn find(records: Vec<Record>, stat: &Stat) -> Option<Record> {
    let version = Version::of(stat);
    records.into_iter().find(|record| record.version == version)
}

fn read_attribute(file: &OwnedFd) -> Result<Option<Record>> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        match fs::fgetxattr(file, ATTRIBUTE, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(_) => return Ok(Record::decode(&bytes).into_iter().next()),
            Err(Errno::RANGE) if bytes.capacity() < MAX_SIDECAR_BYTES => bytes.reserve(MAX_SIDECAR_BYTES),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => return Ok(None),
            Err(errno) => return Err(errors::os(errno, "reading the metadata")),
        }
    }
}

fn sidecar_name(key: &Key) -> String {
    Sha256::digest(key.as_str()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_sidecar(fs: &Shared, key: &Key) -> Result<Vec<Record>> {
    let path = format!("{}/{}", crate::staging::META, sidecar_name(key));
    let mut bytes = Vec::with_capacity(MAX_SIDECAR_BYTES);
    let read = fs
        .root
        .open_below(&path, OFlags::RDONLY | OFlags::NONBLOCK)
        .and_then(|sidecar| rustix::io::pread(&sidecar, rustix::buffer::spare_capacity(&mut bytes), 0));
    match read {
        Ok(_) => Ok(Record::decode(&bytes)),
        Err(errno) if means_absent(errno) => Ok(Vec::new()),
        Err(errno) => Err(errors::os(errno, "reading the metadata")),
    }
}
