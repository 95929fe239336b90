//! [`UploadPlan`]: what completion must know about the beginning, as text inside an id.

use std::fmt::{self, Write};

use crate::checksum::{Checksum, ChecksumAlgorithm};
use crate::error::{Error, ErrorKind, Result};
use crate::hex;
use crate::multipart::MultipartOptions;
use crate::options::SaveMode;

/// What completion must know about the beginning of an upload. An [`UploadId`](crate::UploadId)
/// contains it, so that a later process, and a backend that keeps no such data, have it.
///
/// A driver that keeps it itself uses its own copy: an id may come from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadPlan {
    /// The size of each part but the last, in bytes.
    pub part_size: u64,
    /// The size of the object in bytes, if it was known.
    pub size: Option<u64>,
    /// What completion does if there is an object under the key. Never `UniqueName`.
    pub mode: SaveMode,
    /// The CRC-64/NVME or CRC-32C of the object, if it was known.
    pub checksum: Option<Checksum>,
    /// The text by which a driver recognises the object of this upload, if it needs one: letters,
    /// digits and `-`.
    pub nonce: Option<String>,
}

impl UploadPlan {
    /// Creates the plan of these options, without a nonce. For drivers.
    ///
    /// # Errors
    /// `InvalidInput` if the options have no part size, or one of 0 bytes. A handle always sets
    /// one.
    pub fn new(options: &MultipartOptions) -> Result<Self> {
        let part_size = options.part_size.filter(|part_size| *part_size > 0);
        Ok(Self {
            part_size: part_size.ok_or_else(|| invalid("there is no part size"))?,
            size: options.size,
            mode: options.mode.clone(),
            checksum: options.checksum.clone(),
            nonce: None,
        })
    }

    /// Returns the algorithm of the checksums of parts: that of the object's checksum, which is
    /// composed from them, or CRC-64/NVME. For drivers.
    #[must_use]
    pub fn part_algorithm(&self) -> ChecksumAlgorithm {
        self.checksum.as_ref().map_or(ChecksumAlgorithm::Crc64Nvme, Checksum::algorithm)
    }

    /// Sets the text by which a driver recognises the object of this upload.
    #[must_use]
    pub fn with_nonce(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }

    /// Returns whether the text form of the plan can be part of an id.
    pub(super) fn is_valid(&self) -> bool {
        self.nonce.as_deref().is_none_or(is_nonce)
    }

    /// Reads the form that `Display` writes: fields with a point between them, each with a letter
    /// for its name before its value.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut plan = Self {
            part_size: 0,
            size: None,
            mode: SaveMode::Overwrite,
            checksum: None,
            nonce: None,
        };
        for field in text.split('.') {
            plan.set(field).ok_or_else(|| invalid("the plan in the id is damaged"))?;
        }
        if plan.part_size == 0 {
            return Err(invalid("the plan in the id has no part size"));
        }
        Ok(plan)
    }

    fn set(&mut self, field: &str) -> Option<()> {
        let (name, value) = field.split_at_checked(1)?;
        match name {
            "p" => self.part_size = number(value)?,
            "s" => self.size = Some(number(value)?),
            "n" if value.is_empty() => self.mode = SaveMode::CreateNew,
            "m" => {
                let etag = String::from_utf8(hex::decode(value)?).ok()?;
                self.mode = SaveMode::IfMatch(etag.parse().ok()?);
            }
            "c" => {
                let value = hex::decode(value)?;
                // The algorithms differ in the length of the value.
                let algorithm = match value.len() {
                    4 => ChecksumAlgorithm::Crc32c,
                    _ => ChecksumAlgorithm::Crc64Nvme,
                };
                self.checksum = Some(Checksum::new(algorithm, value).ok()?);
            }
            "u" if is_nonce(value) => self.nonce = Some(value.to_owned()),
            _ => return None,
        }
        Some(())
    }
}

/// Reads digits alone: `parse` also accepts a sign, which no id contains.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether an id may contain this nonce.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// The text form inside an id.
impl fmt::Display for UploadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.part_size)?;
        if let Some(size) = self.size {
            write!(f, ".s{size}")?;
        }
        match &self.mode {
            SaveMode::CreateNew => f.write_str(".n")?,
            SaveMode::IfMatch(etag) => write!(f, ".m{}", hex::encode(etag.to_string().as_bytes()))?,
            SaveMode::Overwrite | SaveMode::UniqueName => {}
        }
        if let Some(checksum) = &self.checksum {
            write!(f, ".c{}", checksum.to_hex())?;
        }
        if let Some(nonce) = &self.nonce {
            f.write_str(".u").and_then(|()| nonce.chars().try_for_each(|c| f.write_char(c)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etag::ETag;

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let checksum = Checksum::new(ChecksumAlgorithm::Crc64Nvme, [1, 2, 3, 4, 5, 6, 7, 8]);
        let plain = UploadPlan::new(&MultipartOptions::new().part_size(8)).unwrap();
        let full = UploadPlan {
            size: Some(u64::MAX),
            mode: SaveMode::IfMatch(ETag::weak("a.b-é").unwrap()),
            checksum: checksum.ok(),
            nonce: Some("0af".to_owned()),
            ..plain.clone()
        };
        let crc32c = Checksum::new(ChecksumAlgorithm::Crc32c, [1, 2, 3, 4]);
        let short = UploadPlan { checksum: crc32c.ok(), ..full.clone() };
        let new = UploadPlan { mode: SaveMode::CreateNew, ..plain.clone() };
        for plan in [plain, full, short, new] {
            assert_eq!(UploadPlan::parse(&plan.to_string()).unwrap(), plan);
        }
    }

    #[test]
    fn a_plan_has_a_part_size_above_zero() {
        for options in [MultipartOptions::new(), MultipartOptions::new().part_size(0)] {
            assert_eq!(UploadPlan::new(&options).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_damaged_plan_is_refused() {
        for text in [
            "", "p", "p0", "s1", "p1.", "p1.x", "p1.cff", "p1.mzz", "pé", "é", "p-1", "p+1",
            "p1.s+1", "p1.u", "p1.ua/b", "p1.ua\n", "p1.ué", "p1.ua?b",
        ] {
            let error = UploadPlan::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
