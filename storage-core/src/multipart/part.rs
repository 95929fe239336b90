//! [`Part`]: a stored part of a multipart upload.

use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::checksum::Checksum;
use crate::error::Result;
use crate::etag::ETag;

/// The parts of an upload: see [`Multipart::parts`](crate::Multipart::parts).
pub type PartStream = BoxStream<'static, Result<Part>>;

/// A stored part of a multipart upload. It can be serialised, so that an application can store what
/// was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its version. Equal bytes have equal ETags, other bytes have another one.
    pub etag: ETag,
    /// The CRC-64/NVME of its bytes, or the CRC-32C if the upload has one, if the backend stores or
    /// the driver computed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

impl Part {
    /// Creates a part without a checksum.
    #[must_use]
    pub fn new(number: u32, size: u64, etag: ETag) -> Self {
        Self { number, size, etag, checksum: None }
    }

    /// Sets the checksum.
    #[must_use]
    pub fn with_checksum(mut self, checksum: Option<Checksum>) -> Self {
        self.checksum = checksum;
        self
    }
}
