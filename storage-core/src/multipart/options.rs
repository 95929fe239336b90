//! The options of multipart uploads, as drivers receive them.

use std::time::Duration;

use crate::checksum::Checksum;
use crate::metadata::Metadata;
use crate::multipart::Part;
use crate::options::SaveMode;

/// How to begin a multipart upload.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MultipartOptions {
    /// The object's metadata. A driver always receives a `content_type`.
    pub metadata: Metadata,
    /// What completion does if there is an object under the key. Defaults to `Overwrite`. A driver
    /// never receives `UniqueName`.
    pub mode: SaveMode,
    /// The size of each part but the last, in bytes. Defaults to what
    /// [`MultipartLimits::part_size`](crate::MultipartLimits::part_size) returns. A driver always
    /// receives one.
    pub part_size: Option<u64>,
    /// The size of the object in bytes, if it is known. Completion verifies it.
    pub size: Option<u64>,
    /// The checksum of the object, if it is known. Completion verifies it. Only CRC-64/NVME and
    /// CRC-32C are possible, because they can be composed from the checksums of the parts.
    pub checksum: Option<Checksum>,
}

impl MultipartOptions {
    /// Returns the defaults: no metadata, overwriting, a part size chosen by the storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets all metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets what completion does if there is an object under the key.
    #[must_use]
    pub fn mode(mut self, mode: SaveMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the size of each part but the last, in bytes.
    #[must_use]
    pub fn part_size(mut self, bytes: u64) -> Self {
        self.part_size = Some(bytes);
        self
    }

    /// Sets the size of the object in bytes.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Sets the checksum of the object.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = Some(checksum);
        self
    }
}

/// How to complete a multipart upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompleteOptions {
    /// Parts that the caller knows to be stored. Completion fails with `Conflict` if one of them is
    /// missing or was replaced by other bytes.
    pub parts: Vec<Part>,
    /// What happens to other parts that the backend has. Defaults to [`OtherParts::Used`].
    pub others: OtherParts,
}

/// What a completion does with stored parts that it does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherParts {
    /// The object consists of all stored parts.
    #[default]
    Used,
    /// The object consists of the named parts alone. Others are discarded, and may be gone although
    /// the completion fails.
    Discarded,
    /// The completion fails with `Conflict` if there are others.
    Refused,
}

impl CompleteOptions {
    /// Returns the defaults: all parts that the backend has.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the object consist of exactly these parts. Others are discarded.
    #[must_use]
    pub fn exactly(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.parts = parts.into_iter().collect();
        self.others = OtherParts::Discarded;
        self
    }

    /// Makes the completion fail with `Conflict` unless exactly these parts are stored.
    #[must_use]
    pub fn only(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.parts = parts.into_iter().collect();
        self.others = OtherParts::Refused;
        self
    }

    /// Requires that these parts are stored, whatever others there are.
    #[must_use]
    pub fn requiring(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.parts = parts.into_iter().collect();
        self.others = OtherParts::Used;
        self
    }
}

/// Which link for storing a part to make.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartUrlOptions {
    /// How long the link works, at least one second.
    pub expires_in: Duration,
    /// The exact length in bytes that the part must have. Defaults to `None`.
    pub content_length: Option<u64>,
}

impl PartUrlOptions {
    /// Returns options for a link that works for this long, for a part of any length.
    #[must_use]
    pub fn new(expires_in: Duration) -> Self {
        Self { expires_in, content_length: None }
    }

    /// Sets the exact length in bytes that the part must have.
    #[must_use]
    pub fn content_length(mut self, bytes: u64) -> Self {
        self.content_length = Some(bytes);
        self
    }
}
