//! Proof that the bytes that arrived are those that were sent.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum_combine};
use serde::Deserialize;
use storage_core::{Checksum, ChecksumAlgorithm, Error, Hasher, Result};

use crate::request::Chunks;

/// From this size on hashing is left to a thread that may block.
const MUCH: u64 = 256 * 1024;

/// The checksum that is sent with every body, for the service to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChecksumMode {
    /// CRC-64/NVME: a fraction of the others' cost, and S3 keeps it for the whole object, however
    /// it was uploaded. The default where the service takes it.
    Crc64Nvme,
    /// SHA-256, which is also part of the request's signature: so even a connection without TLS
    /// cannot be tampered with. The default where the service takes no checksum headers, since
    /// every service checks signatures.
    Sha256,
    /// `Content-MD5`.
    Md5,
    /// None: TLS and TCP have to do.
    None,
}

/// Which checksums to compute, and where to say them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checking {
    pub(crate) mode: ChecksumMode,
    /// Whether the service takes `x-amz-checksum-` headers.
    pub(crate) headers: bool,
}

/// A checksum of a body, and where it is said.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) checksum: Checksum,
    pub(crate) in_header: bool,
    pub(crate) in_signature: bool,
}

impl Checking {
    /// The algorithm of every body's checksum.
    pub(crate) fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self.mode {
            ChecksumMode::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            ChecksumMode::Sha256 => Some(ChecksumAlgorithm::Sha256),
            ChecksumMode::Md5 => Some(ChecksumAlgorithm::Md5),
            ChecksumMode::None => None,
        }
    }

    /// The algorithm as S3 names it when an upload is created, where parts have checksum headers at
    /// all.
    pub(crate) fn name_for_parts(self) -> Option<&'static str> {
        match self.mode {
            ChecksumMode::Crc64Nvme if self.headers => Some("CRC64NVME"),
            ChecksumMode::Sha256 if self.headers => Some("SHA256"),
            _ => None,
        }
    }

    /// Computes a body's checksum, unless it is known.
    pub(crate) async fn proof(
        self,
        body: &Chunks,
        known: Option<&Checksum>,
    ) -> Result<Option<Proof>> {
        let Some(algorithm) = self.algorithm() else { return Ok(None) };
        let checksum = match known.filter(|checksum| checksum.algorithm() == algorithm) {
            Some(known) => known.clone(),
            None => of_chunks(algorithm, body).await?,
        };
        let is_sha256 = algorithm == ChecksumAlgorithm::Sha256;
        let in_header = self.headers || algorithm == ChecksumAlgorithm::Md5;
        Ok(Some(Proof { checksum, in_header, in_signature: is_sha256 }))
    }
}

async fn of_chunks(algorithm: ChecksumAlgorithm, body: &Chunks) -> Result<Checksum> {
    let is_quick = algorithm == ChecksumAlgorithm::Crc64Nvme || body.len() < MUCH;
    if is_quick {
        return Ok(of_each(algorithm, body.iter()));
    }
    let body = body.clone();
    tokio::task::spawn_blocking(move || of_each(algorithm, body.iter()))
        .await
        .map_err(|join| Error::unexpected("hashing did not finish", join))
}

fn of_each<'a>(algorithm: ChecksumAlgorithm, chunks: impl Iterator<Item = &'a Bytes>) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    chunks.for_each(|chunk| hasher.update(chunk));
    hasher.finish()
}

/// The CRC-64/NVME of an object, put together from those of its parts.
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

    /// The checksum of all that was appended.
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
