//! The formats of the records of uploads, and the id of the object that an upload becomes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac_sha256::Hash;
use serde::{Deserialize, Serialize};
use storage_core::internal::hex;
use storage_core::{
    Checksum, ChecksumAlgorithm, Checksums, ETag, Key, Metadata, MultipartOptions, Part, Result,
    UploadId, UploadPlan,
};

use crate::record::Record;
use crate::version::{Id, Version};

/// The number of hexadecimal digits of an upload's id (128 bits).
const ID_DIGITS: usize = 32;

/// Returns whether a text can be the id of an upload. No other text is used as a file name.
pub(crate) fn is_upload_id(text: &str) -> bool {
    text.len() == ID_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Returns the id of the object that an upload becomes, which is the object's ETag. So a completion
/// that is repeated recognises the object.
///
/// It is a hash, so that the ETag of an object does not reveal the id of its upload, and the ETag
/// of another object is never taken for such an id.
pub(crate) fn object_id(upload: &str) -> Id {
    let hash = Hash::hash(format!("upload {upload}").as_bytes());
    std::array::from_fn(|at| hash[at])
}

/// Returns the ETag of the object that an upload becomes.
pub(crate) fn object_etag(upload: &str) -> Result<ETag> {
    ETag::strong(hex(&object_id(upload)))
}

/// What the beginning of an upload determines. The order of the fields is the format on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    key: String,
    /// The text form of the id, which contains the plan.
    id: String,
    /// Seconds and nanoseconds since 1970.
    begun: (u64, u32),
    /// The metadata. Its version and ETag are not used.
    object: Record,
}

/// What the beginning of an upload determined, read from its record.
#[derive(Debug, Clone)]
pub(crate) struct Beginning {
    pub(crate) key: Key,
    pub(crate) id: UploadId,
    pub(crate) plan: UploadPlan,
    pub(crate) metadata: Metadata,
    pub(crate) begun: SystemTime,
}

impl UploadRecord {
    pub(crate) fn new(key: &Key, id: &UploadId, options: &MultipartOptions) -> Self {
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let version = Version { inode: 0, size: 0, modified: 0, time: UNIX_EPOCH };
        Self {
            key: key.to_string(),
            id: id.to_string(),
            begun: (begun.as_secs(), begun.subsec_nanos()),
            object: Record::new(&version, Id::default(), &options.metadata, &Checksums::new()),
        }
    }

    /// Returns the content, or `None` if it is not valid. Another program may have written it.
    pub(crate) fn into_beginning(self) -> Option<Beginning> {
        let id: UploadId = self.id.parse().ok()?;
        let (seconds, nanos) = self.begun;
        let begun = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))?;
        Some(Beginning {
            key: Key::new(self.key).ok()?,
            plan: id.plan()?.clone(),
            id,
            metadata: self.object.metadata()?,
            begun: UNIX_EPOCH.checked_add(begun)?,
        })
    }
}

/// A version of a part. The order of the fields is the format on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    pub(crate) size: u64,
    /// The CRC-64/NVME of the bytes, or a random number if no checksum was computed.
    pub(crate) version: u64,
    pub(crate) has_checksum: bool,
    /// The number in the name of the file that contains the bytes. `None` if they are in `data`.
    pub(crate) beside: Option<u64>,
    /// The CRC-32C of the bytes, if the upload has one.
    pub(crate) crc32c: Option<[u8; 4]>,
}

impl PartRecord {
    /// Returns the record for a part with these checksums.
    pub(crate) fn new(size: u64, checksums: &Checksums, beside: Option<u64>) -> Result<Self> {
        let checksum = checksums.get(ChecksumAlgorithm::Crc64Nvme);
        let value = checksum.and_then(|checksum| checksum.value().try_into().ok());
        let version = match value {
            Some(value) => value,
            None => storage_core::keys::random_bytes()?,
        };
        let version = u64::from_be_bytes(version);
        let crc32c = checksums.get(ChecksumAlgorithm::Crc32c);
        let crc32c = crc32c.and_then(|checksum| checksum.value().try_into().ok());
        Ok(Self { size, version, has_checksum: value.is_some(), beside, crc32c })
    }

    pub(crate) fn to_part(&self, number: u32) -> Result<Part> {
        let version = self.version.to_be_bytes();
        let checksum = match self.crc32c {
            Some(value) => Some(Checksum::new(ChecksumAlgorithm::Crc32c, value)?),
            None if self.has_checksum => {
                Some(Checksum::new(ChecksumAlgorithm::Crc64Nvme, version)?)
            }
            None => None,
        };
        let part = Part::new(number, self.size, ETag::strong(hex(&version))?);
        Ok(part.with_checksum(checksum))
    }
}

/// Returns the name of a file that contains the bytes of a part.
pub(crate) fn beside_name(number: u32, random: u64) -> String {
    format!("{number}-{random:016x}")
}

/// Returns the number of the part whose record has this name.
pub(crate) fn part_number(name: &str) -> Option<u32> {
    let number: u32 = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_lower_case_hexadecimal_digits_are_the_id_of_an_upload() {
        assert!(is_upload_id("0123456789abcdef0123456789abcdef"));
        for text in [
            "",
            ".",
            "..",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789ABCDEF0123456789abcdef",
            "0123456789abcdef0123456789abcde/",
            "é123456789abcdef0123456789abcde",
        ] {
            assert!(!is_upload_id(text), "{text}");
        }
    }

    #[test]
    fn only_a_number_without_leading_zeros_names_the_record_of_a_part() {
        assert_eq!(part_number("10"), Some(10));
        for name in ["", "01", "+1", "1.new", "-1", "4294967296", "one"] {
            assert_eq!(part_number(name), None, "{name}");
        }
    }

    /// A process with another version of this crate repeats the completion of an upload.
    #[test]
    fn the_etag_of_the_object_of_an_upload_never_changes() {
        let etag = object_etag("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(etag.to_string(), "\"8d37db5ee40c79deeacd\"");
    }
}
