//! Checksums of request bodies, which the service verifies.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum_combine};
use serde::Deserialize;
use storage_core::{Checksum, ChecksumAlgorithm, Error, Hasher, Result};

use crate::request::Chunks;

/// Hashing a body of at least this size, in bytes, runs on a blocking thread.
const OFFLOAD_THRESHOLD: u64 = 256 * 1024;

/// The checksum that is sent with every request body. The service verifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChecksumMode {
    /// CRC-64/NVME, which is the cheapest to compute. S3 stores it for the whole object, even after
    /// a multipart upload. This is the default if the service supports checksum headers.
    Crc64Nvme,
    /// SHA-256, which is also part of the request's signature, so that the body cannot be changed
    /// on a connection without TLS. This is the default if the service does not support checksum
    /// headers, because every service verifies signatures.
    Sha256,
    /// MD5, sent as `Content-MD5`.
    Md5,
    /// No checksum. Only TLS and TCP protect the body.
    None,
}

/// The algorithm of the checksums, and whether they are sent as headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChecksumPolicy {
    pub(crate) mode: ChecksumMode,
    /// Whether the service supports `x-amz-checksum-` headers.
    pub(crate) headers: bool,
}

/// A checksum of a body, and where the request contains it.
#[derive(Debug, Clone)]
pub(crate) struct BodyChecksum {
    pub(crate) checksum: Checksum,
    pub(crate) in_header: bool,
    pub(crate) in_signature: bool,
}

impl ChecksumPolicy {
    /// Returns the algorithm.
    pub(crate) fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self.mode {
            ChecksumMode::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            ChecksumMode::Sha256 => Some(ChecksumAlgorithm::Sha256),
            ChecksumMode::Md5 => Some(ChecksumAlgorithm::Md5),
            ChecksumMode::None => None,
        }
    }

    /// Returns S3's name of the algorithm for the creation of an upload, or `None` if parts have no
    /// checksum headers.
    pub(crate) fn name_for_parts(self) -> Option<&'static str> {
        match self.mode {
            ChecksumMode::Crc64Nvme if self.headers => Some("CRC64NVME"),
            ChecksumMode::Sha256 if self.headers => Some("SHA256"),
            _ => None,
        }
    }

    /// Returns the checksum of a body, and computes it unless it is known.
    pub(crate) async fn body_checksum(
        self,
        body: &Chunks,
        known: Option<&Checksum>,
    ) -> Result<Option<BodyChecksum>> {
        let Some(algorithm) = self.algorithm() else { return Ok(None) };
        let checksum = match known.filter(|checksum| checksum.algorithm() == algorithm) {
            Some(known) => known.clone(),
            None => checksum_of_chunks(algorithm, body).await?,
        };
        let is_sha256 = algorithm == ChecksumAlgorithm::Sha256;
        let in_header = self.headers || algorithm == ChecksumAlgorithm::Md5;
        Ok(Some(BodyChecksum { checksum, in_header, in_signature: is_sha256 }))
    }
}

async fn checksum_of_chunks(algorithm: ChecksumAlgorithm, body: &Chunks) -> Result<Checksum> {
    let is_fast = algorithm == ChecksumAlgorithm::Crc64Nvme || body.len() < OFFLOAD_THRESHOLD;
    if is_fast {
        return Ok(checksum_of_each(algorithm, body.iter()));
    }
    let body = body.clone();
    tokio::task::spawn_blocking(move || checksum_of_each(algorithm, body.iter()))
        .await
        .map_err(|join| Error::unexpected("hashing did not finish", join))
}

fn checksum_of_each<'a>(
    algorithm: ChecksumAlgorithm,
    chunks: impl Iterator<Item = &'a Bytes>,
) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    chunks.for_each(|chunk| hasher.update(chunk));
    hasher.finish()
}

/// Combines the CRC-64/NVME of parts to that of the object.
#[derive(Debug, Default)]
pub(crate) struct WholeCrc {
    crc: u64,
}

impl WholeCrc {
    /// Appends a part.
    pub(crate) fn append(&mut self, part: &Checksum, len: u64) {
        if let Ok(bytes) = part.value().try_into() {
            self.crc =
                checksum_combine(CrcAlgorithm::Crc64Nvme, self.crc, u64::from_be_bytes(bytes), len);
        }
    }

    /// Returns the checksum of all appended parts.
    pub(crate) fn finish(self) -> Result<Checksum> {
        Checksum::new(ChecksumAlgorithm::Crc64Nvme, self.crc.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_the_whole_is_that_of_its_parts_together() {
        let bytes: Vec<u8> =
            (0..100_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        for cuts in [vec![0], vec![1, 50_000, 99_999], vec![100_000], vec![30, 30]] {
            let mut whole = WholeCrc::default();
            let mut start = 0;
            for end in cuts.into_iter().chain([bytes.len()]) {
                let part = &bytes[start..end];
                whole.append(&Checksum::of(ChecksumAlgorithm::Crc64Nvme, part), part.len() as u64);
                start = end;
            }
            assert_eq!(whole.finish().unwrap(), Checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes));
        }
    }
}
