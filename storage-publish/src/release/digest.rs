//! [`Sha256`]: the hash of a file in manifests.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Result};

/// A SHA-256. Its text form has 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Computes the hash of bytes in memory.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_value(Checksum::of(ChecksumAlgorithm::Sha256, bytes).value())
    }

    fn from_value(value: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let len = value.len().min(bytes.len());
        bytes[..len].copy_from_slice(&value[..len]);
        Self(bytes)
    }

    /// Returns the value of an `integrity` attribute (Subresource Integrity, section 3.5):
    /// `sha256-` and the hash in base64.
    #[must_use]
    pub fn integrity(&self) -> String {
        format!("sha256-{}", STANDARD.encode(self.0))
    }

    pub(crate) fn checksum(self) -> Result<Checksum> {
        Checksum::new(ChecksumAlgorithm::Sha256, self.0.to_vec())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&storage_core::internal::hex(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(is_lower_hex) {
            let message = "a SHA-256 has 64 hexadecimal digits in lower case";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let checksum: Checksum = format!("sha256:{text}").parse()?;
        Ok(Self::from_value(checksum.value()))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| de::Error::custom(error.message().to_owned()))
    }
}
