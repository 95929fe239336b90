//! [`UnfinishedUpload`]: an item of the listing of multipart uploads.

use std::time::SystemTime;

use futures_core::stream::BoxStream;

use crate::error::Result;
use crate::key::Key;
use crate::multipart::UploadId;

/// Unfinished uploads: see [`Multipart::uploads`](crate::Multipart::uploads).
pub type UploadStream = BoxStream<'static, Result<UnfinishedUpload>>;

/// A multipart upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnfinishedUpload {
    /// The key that it belongs to.
    pub key: Key,
    /// Its id, without the plan if the backend does not list it. Such an id is good for listing
    /// parts and for aborting. [`UploadId::is_same_upload`] compares it with the one of the
    /// beginning.
    pub id: UploadId,
    /// When it was begun, if the backend states it.
    pub begun: Option<SystemTime>,
}

impl UnfinishedUpload {
    /// Creates the description of an upload whose beginning is not known.
    #[must_use]
    pub fn new(key: Key, id: UploadId) -> Self {
        Self { key, id, begun: None }
    }

    /// Sets when it was begun.
    #[must_use]
    pub fn with_begun(mut self, begun: Option<SystemTime>) -> Self {
        self.begun = begun;
        self
    }
}
