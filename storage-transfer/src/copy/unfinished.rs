//! [`UnfinishedCopy`]: what must be stored to continue the copy of a large object.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use storage_core::{ETag, Result, UploadId};

/// The copy of a large object that has begun. Store it, and pass it to
/// [`ObjectCopy::resume`](crate::ObjectCopy::resume) to continue.
///
/// It contains no parts, because the destination lists those that it has. The part size is in the
/// upload's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnfinishedCopy {
    /// The version of the source.
    pub source: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// The upload at the destination.
    pub upload: UploadId,
    /// On which condition the upload replaces an object of the destination, as a text. An upload
    /// keeps its condition, so a copy with another one begins again, as does one without this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Stores which uploads have begun, so that a later process continues them.
#[async_trait]
pub trait UploadRecorder: Send + Sync {
    /// Stores an upload. Called before the first part is sent, and again if the copy begins again.
    ///
    /// # Errors
    /// An error ends the copy and aborts the upload.
    async fn begun(&self, unfinished: &UnfinishedCopy) -> Result<()>;
}
