//! Checksums of whole objects, computed while the bytes stream and verified before the object
//! becomes visible.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind, Result};
use crate::hex;

/// The algorithms that every driver supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChecksumAlgorithm {
    /// SHA-256 (FIPS 180-4): 32 bytes. The recommended one.
    Sha256,
    /// MD5 (RFC 1321): 16 bytes. Detects accidents, not attacks. S3's ETags of uploads in one part
    /// are MD5.
    Md5,
    /// CRC-64/NVME: 8 bytes, big-endian. Detects accidents only. S3 computes it by default.
    Crc64Nvme,
    /// CRC-32C (RFC 3720, section 12.1): 4 bytes, big-endian. Detects accidents only. Google Cloud
    /// Storage computes it for every object.
    Crc32c,
}

impl ChecksumAlgorithm {
    /// Returns the name that metadata and command lines contain: `"sha256"`, `"md5"`,
    /// `"crc64nvme"`, `"crc32c"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
            Self::Crc64Nvme => "crc64nvme",
            Self::Crc32c => "crc32c",
        }
    }

    /// Returns the length of a value in bytes.
    #[must_use]
    pub fn value_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Md5 => 16,
            Self::Crc64Nvme => 8,
            Self::Crc32c => 4,
        }
    }

    /// Returns whether the checksum of an object can be composed from those of its parts, as
    /// multipart uploads need it.
    #[must_use]
    pub fn is_composable(self) -> bool {
        matches!(self, Self::Crc64Nvme | Self::Crc32c)
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ChecksumAlgorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "md5" => Ok(Self::Md5),
            "crc64nvme" => Ok(Self::Crc64Nvme),
            "crc32c" => Ok(Self::Crc32c),
            other => Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "unknown checksum algorithm {other:?}; known: sha256, md5, crc64nvme, crc32c"
                ),
            )),
        }
    }
}

/// A checksum of one algorithm. Its text form is `sha256:<hex>`.
///
/// ```
/// use storage_core::{Checksum, ChecksumAlgorithm};
///
/// let sum: Checksum = "md5:5d41402abc4b2a76b9719d911017c592".parse()?;
/// assert_eq!(sum.algorithm(), ChecksumAlgorithm::Md5);
/// assert_eq!(sum.to_string(), "md5:5d41402abc4b2a76b9719d911017c592");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    value: Box<[u8]>,
}

impl Checksum {
    /// Creates a checksum from its raw bytes.
    ///
    /// # Errors
    /// `InvalidInput` if the length is not the algorithm's.
    pub fn new(algorithm: ChecksumAlgorithm, value: impl Into<Box<[u8]>>) -> Result<Self> {
        let value = value.into();
        if value.len() == algorithm.value_len() {
            return Ok(Self { algorithm, value });
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "a {algorithm} checksum has {} bytes, not {}",
                algorithm.value_len(),
                value.len()
            ),
        ))
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Returns the raw value. S3's headers and `Content-MD5` contain it in base64.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Returns the value in lower-case hexadecimal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(&self.value)
    }

    /// Makes a checksum from a value of the right length.
    #[cfg(feature = "checksums")]
    pub(crate) fn computed(algorithm: ChecksumAlgorithm, value: &[u8]) -> Self {
        debug_assert_eq!(value.len(), algorithm.value_len());
        Self { algorithm, value: value.into() }
    }

    fn from_hex(algorithm: ChecksumAlgorithm, text: &str) -> Result<Self> {
        let value = hex::decode(text).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is not a {algorithm} value in hexadecimal"),
            )
        })?;
        Self::new(algorithm, value)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.to_hex())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (algorithm, value) = text.split_once(':').ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is not a checksum: write algorithm:hex, as in sha256:2cf2..."),
            )
        })?;
        Self::from_hex(algorithm.parse()?, value)
    }
}

/// Serialised as its text form.
impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The checksums of one object, at most one of each algorithm, ordered by algorithm.
///
/// Serialised as a map from algorithm to hexadecimal value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums(Vec<Checksum>);

impl Checksums {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a checksum, replacing one of the same algorithm.
    pub fn insert(&mut self, checksum: Checksum) {
        match self.0.binary_search_by_key(&checksum.algorithm, |other| other.algorithm) {
            Ok(position) => self.0[position] = checksum,
            Err(position) => self.0.insert(position, checksum),
        }
    }

    /// Returns the checksum of an algorithm.
    #[must_use]
    pub fn get(&self, algorithm: ChecksumAlgorithm) -> Option<&Checksum> {
        self.0.iter().find(|checksum| checksum.algorithm == algorithm)
    }

    /// Iterates over all checksums, ordered by algorithm.
    pub fn iter(&self) -> impl Iterator<Item = &Checksum> {
        self.0.iter()
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Checksum> for Checksums {
    fn from_iter<I: IntoIterator<Item = Checksum>>(checksums: I) -> Self {
        let mut all = Self::new();
        checksums.into_iter().for_each(|checksum| all.insert(checksum));
        all
    }
}

impl Serialize for Checksums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|sum| (sum.algorithm, sum.to_hex())))
    }
}

impl<'de> Deserialize<'de> for Checksums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let checksums = BTreeMap::<String, String>::deserialize(deserializer)?;
        let parsed = checksums.iter().map(|(name, value)| format!("{name}:{value}").parse());
        parsed.map(|checksum| checksum.map_err(de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_wrong_length_is_refused() {
        assert_eq!("md5:00".parse::<Checksum>().unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!("md5:zz".parse::<Checksum>().unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!("crc:00".parse::<Checksum>().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
