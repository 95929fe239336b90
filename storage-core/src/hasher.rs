//! [`Hasher`]: computes a checksum chunk by chunk. Feature `checksums`.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::checksum::{Checksum, ChecksumAlgorithm};

impl Checksum {
    /// Computes the checksum of bytes in memory. Needs the feature `checksums`.
    ///
    /// ```
    /// use storage_core::{Checksum, ChecksumAlgorithm};
    ///
    /// let sum = Checksum::of(ChecksumAlgorithm::Md5, b"hello");
    /// assert_eq!(sum.to_string(), "md5:5d41402abc4b2a76b9719d911017c592");
    /// ```
    #[must_use]
    pub fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Computes one checksum, chunk by chunk. Needs the feature `checksums`.
///
/// ```
/// use storage_core::{Checksum, ChecksumAlgorithm, Hasher};
///
/// let mut hasher = Hasher::new(ChecksumAlgorithm::Sha256);
/// hasher.update(b"hel");
/// hasher.update(b"lo");
/// assert_eq!(hasher.finish(), Checksum::of(ChecksumAlgorithm::Sha256, b"hello"));
/// ```
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Md5(Md5),
    Crc64Nvme(crc_fast::Digest),
    Crc32c(crc_fast::Digest),
}

impl Hasher {
    /// Creates a hasher for an algorithm.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        Self(match algorithm {
            ChecksumAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            ChecksumAlgorithm::Md5 => State::Md5(Md5::new()),
            ChecksumAlgorithm::Crc64Nvme => {
                State::Crc64Nvme(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme))
            }
            // The CRC of iSCSI is CRC-32C.
            ChecksumAlgorithm::Crc32c => {
                State::Crc32c(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
            }
        })
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
            State::Crc64Nvme(state) | State::Crc32c(state) => state.update(bytes),
        }
    }

    /// Returns the checksum of all bytes that were added.
    #[must_use]
    pub fn finish(self) -> Checksum {
        match self.0 {
            State::Sha256(state) => {
                Checksum::computed(ChecksumAlgorithm::Sha256, state.finalize().as_slice())
            }
            State::Md5(state) => {
                Checksum::computed(ChecksumAlgorithm::Md5, state.finalize().as_slice())
            }
            State::Crc64Nvme(state) => {
                Checksum::computed(ChecksumAlgorithm::Crc64Nvme, &state.finalize().to_be_bytes())
            }
            State::Crc32c(state) => {
                let value = state.finalize().to_be_bytes();
                Checksum::computed(ChecksumAlgorithm::Crc32c, &value[4..])
            }
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_agree_with_the_published_test_vectors() {
        let check = |algorithm, expected: &str| {
            assert_eq!(Checksum::of(algorithm, b"123456789").to_hex(), expected);
        };
        // FIPS 180 / RFC 1321 suites; CRC-64/NVME's "check" value in the CRC catalogue.
        check(
            ChecksumAlgorithm::Sha256,
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        );
        check(ChecksumAlgorithm::Md5, "25f9e794323b453885f5181f1b624d0b");
        check(ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888");
        check(ChecksumAlgorithm::Crc32c, "e3069283");
    }
}
