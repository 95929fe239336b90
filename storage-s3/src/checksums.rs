//! Checksums of request bodies, which the service verifies.

use bytes::Bytes;
use serde::Deserialize;
use storage_core::internal::run_blocking;
use storage_core::{Checksum, ChecksumAlgorithm, Hasher, Result};

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
    /// CRC-32C, which S3 stores for the whole object too. Google Cloud Storage and older tools know
    /// it.
    Crc32c,
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
            ChecksumMode::Crc32c => Some(ChecksumAlgorithm::Crc32c),
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
            ChecksumMode::Crc32c if self.headers => Some("CRC32C"),
            ChecksumMode::Sha256 if self.headers => Some("SHA256"),
            _ => None,
        }
    }

    /// Whether the service verifies the CRC of parts and stores that of the object.
    pub(crate) fn stores_crc(self) -> bool {
        matches!(self.mode, ChecksumMode::Crc64Nvme | ChecksumMode::Crc32c) && self.headers
    }

    /// Returns the algorithm of the CRC that describes a part: the one that the service stores, or
    /// CRC-64/NVME.
    pub(crate) fn part_crc(self) -> ChecksumAlgorithm {
        let algorithm = self.algorithm().filter(|algorithm| algorithm.is_composable());
        algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme)
    }

    /// Returns the policy of uploads whose parts any client may send.
    ///
    /// An upload with a SHA-256 for each part must have one for every part, and a client with a
    /// signed link does not send one. The SHA-256 of a part is therefore only in the signature,
    /// which every service verifies.
    ///
    /// A declared checksum of the object determines the algorithm, if the service stores CRCs.
    pub(crate) fn of_resumable_uploads(self, declared: Option<&Checksum>) -> Self {
        let headers = self.headers && self.mode != ChecksumMode::Sha256;
        let mode = match declared.map(Checksum::algorithm) {
            Some(ChecksumAlgorithm::Crc64Nvme) if self.stores_crc() => ChecksumMode::Crc64Nvme,
            Some(ChecksumAlgorithm::Crc32c) if self.stores_crc() => ChecksumMode::Crc32c,
            _ => self.mode,
        };
        Self { mode, headers }
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
    let is_fast = algorithm.is_composable() || body.len() < OFFLOAD_THRESHOLD;
    if is_fast {
        return Ok(checksum_of_each(algorithm, body.iter()));
    }
    let body = body.clone();
    run_blocking(move || Ok(checksum_of_each(algorithm, body.iter()))).await
}

fn checksum_of_each<'a>(
    algorithm: ChecksumAlgorithm,
    chunks: impl Iterator<Item = &'a Bytes>,
) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    chunks.for_each(|chunk| hasher.update(chunk));
    hasher.finish()
}
