//! The record: the metadata of one version of a file, in its format on disk. Both implementations
//! read and write it.

use std::time::{Duration, UNIX_EPOCH};

use hmac_sha256::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage_core::internal::hex;
use storage_core::{
    Checksum, ChecksumAlgorithm, Checksums, ETag, Error, Key, Metadata, ObjectMeta, Result,
};

use crate::version::{Id, Version};

/// The first byte of an encoded value. It must be incremented when the format changes.
const FORMAT_VERSION: u8 = 1;

/// The metadata of one version of a file. The order of the fields is the format on disk.
///
/// The format is compact, because an inode of ext4 has room for about 60 bytes. For a larger record
/// the file system allocates another block, which is an additional write and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    size: u64,
    /// [`Version::modified`].
    modified: i64,
    etag: Id,
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_disposition: Option<String>,
    content_language: Option<String>,
    cache_control: Option<String>,
    /// Seconds since 1970.
    expires: Option<u64>,
    user_metadata: Vec<(String, String)>,
    /// The value of each checksum, with the number of its algorithm.
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

    /// Returns whether a file has the size and the modification time of this record.
    pub(crate) fn matches(&self, version: &Version) -> bool {
        self.size == version.size && self.modified == version.modified
    }

    /// Returns the metadata, or `None` if the contract does not allow it. Another program may have
    /// written the record.
    pub(crate) fn metadata(&self) -> Option<Metadata> {
        // As in HTTP headers, an empty value means an absent one.
        let non_empty = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let mut metadata = Metadata::new();
        metadata.content_type = non_empty(&self.content_type);
        metadata.content_encoding = non_empty(&self.content_encoding);
        metadata.content_disposition = non_empty(&self.content_disposition);
        metadata.content_language = non_empty(&self.content_language);
        metadata.cache_control = non_empty(&self.cache_control);
        metadata.expires =
            self.expires.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        metadata.user_metadata = self.user_metadata.iter().cloned().collect();
        metadata.validated().ok()
    }

    /// Returns the checksums of supported algorithms.
    pub(crate) fn checksums(&self) -> Checksums {
        let supported = self.checksums.iter().filter_map(|(number, value)| {
            Checksum::new(algorithm_of(*number)?, value.clone()).ok()
        });
        supported.collect()
    }
}

/// More bytes than any sidecar of this driver has (64 KiB). The rest of a larger file, which
/// another program wrote, is not read.
pub(crate) const MAX_SIDECAR_BYTES: usize = 64 * 1024;

/// A record in a sidecar, with the inode of its file.
///
/// The sidecar of a key is `.anystorage/meta/<SHA-256 of the key>`. It may contain the records of
/// two versions, the present one and the one before, so that the file in place always has a record.
/// Only the record of the exact version is used.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SidecarEntry {
    pub(crate) inode: u64,
    pub(crate) record: Record,
}

impl SidecarEntry {
    /// Returns whether this is the record of exactly this version.
    pub(crate) fn is_of(&self, version: &Version) -> bool {
        self.inode == version.inode && self.record.matches(version)
    }
}

/// Returns the name of a key's sidecar.
pub(crate) fn sidecar_name(key: &Key) -> String {
    hex(&Hash::hash(key.as_str().as_bytes()))
}

/// Returns the metadata that follows from the version of a file alone: its size and time.
pub(crate) fn meta_without_record(key: &Key, version: &Version) -> ObjectMeta {
    let mut meta = ObjectMeta::new(key.clone(), version.size);
    meta.last_modified = Some(version.modified_time());
    meta
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_extend(value, vec![FORMAT_VERSION])
        .map_err(|cause| Error::unexpected("the metadata cannot be encoded", cause))
}

/// Decodes a value. Returns `None` for bytes that another program or a later version of this format
/// wrote.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&FORMAT_VERSION, value)) => postcard::take_from_bytes(value)
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
        ChecksumAlgorithm::Crc32c => 3,
        // SHA-256. The enum is not exhaustive: a checksum of an algorithm that is added later would
        // be dropped when it is read, because its length differs.
        _ => 0,
    }
}

fn algorithm_of(number: u8) -> Option<ChecksumAlgorithm> {
    match number {
        0 => Some(ChecksumAlgorithm::Sha256),
        1 => Some(ChecksumAlgorithm::Md5),
        2 => Some(ChecksumAlgorithm::Crc64Nvme),
        3 => Some(ChecksumAlgorithm::Crc32c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_in_a_record_reads_as_an_absent_one() {
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
