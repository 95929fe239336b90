//! [`ExpectedChecksum`]: the checksum that a client sends with a chunk.

use crc_fast::{CrcAlgorithm, Digest};
use sha1::{Digest as _, Sha1};
use storage_core::{ChecksumAlgorithm, Hasher};

/// The algorithms, as tus names them.
pub(in crate::uploads) const ALGORITHMS: &str = "sha1,sha256,md5,crc32";

/// The checksum that a chunk has to have, and that of the bytes so far.
pub(in crate::uploads) struct ExpectedChecksum {
    expected: Vec<u8>,
    state: State,
}

enum State {
    Sha1(Sha1),
    Crc32(Digest),
    Core(Hasher),
}

impl ExpectedChecksum {
    /// Returns `None` for an unknown algorithm and for a value of another length.
    pub(in crate::uploads) fn new(algorithm: &str, expected: Vec<u8>) -> Option<Self> {
        let (state, length) = match algorithm {
            "sha1" => (State::Sha1(Sha1::new()), 20),
            "crc32" => (State::Crc32(Digest::new(CrcAlgorithm::Crc32IsoHdlc)), 4),
            "sha256" => (State::Core(Hasher::new(ChecksumAlgorithm::Sha256)), 32),
            "md5" => (State::Core(Hasher::new(ChecksumAlgorithm::Md5)), 16),
            _ => return None,
        };
        (expected.len() == length).then_some(Self { expected, state })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha1(sha1) => sha1.update(bytes),
            State::Crc32(crc) => crc.update(bytes),
            State::Core(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn matches(self) -> bool {
        match self.state {
            State::Sha1(sha1) => sha1.finalize()[..] == self.expected,
            // The value of a CRC-32 is the lower half of the number, in network byte order.
            State::Crc32(crc) => crc.finalize().to_be_bytes()[4..] == self.expected,
            State::Core(hasher) => hasher.finish().value() == self.expected,
        }
    }
}
