//! [`BlockingUpload`]: a multipart upload of synchronous code.

use futures_util::TryStreamExt;

use super::runtime::Runtime;
use crate::error::Result;
use crate::metadata::ObjectMeta;
use crate::multipart::{CompleteOptions, MultipartUpload, Part};
use crate::payload::Payload;

/// A multipart upload: see [`MultipartUpload`]. Dropping it aborts nothing.
///
/// ```
/// # fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage().blocking()?;
/// use storage_core::MultipartOptions;
///
/// let upload = storage.multipart("a.txt", MultipartOptions::new().part_size(5))?;
/// upload.put_part(1, "hello")?;
/// let id = upload.upload().id().clone();
///
/// let resumed = storage.resume_multipart("a.txt", id)?;
/// resumed.put_part(2, " you")?;
/// assert_eq!(resumed.complete()?.size, 9);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct BlockingUpload {
    runtime: Runtime,
    upload: MultipartUpload,
}

impl BlockingUpload {
    pub(super) fn new(runtime: Runtime, upload: MultipartUpload) -> Self {
        Self { runtime, upload }
    }

    /// Returns the upload for asynchronous code, with its key and its id.
    #[must_use]
    pub fn upload(&self) -> &MultipartUpload {
        &self.upload
    }

    /// Stores one part: see [`MultipartUpload::put_part`].
    pub fn put_part(&self, number: u32, payload: impl Into<Payload>) -> Result<Part> {
        self.runtime.wait(self.upload.put_part(number, payload))?
    }

    /// Returns the parts that are stored: see [`MultipartUpload::parts`].
    pub fn parts(&self) -> Result<Vec<Part>> {
        self.runtime.wait(self.upload.parts().try_collect())?
    }

    /// Makes the object visible: see [`MultipartUpload::complete`].
    pub fn complete(&self) -> Result<ObjectMeta> {
        self.runtime.wait(self.upload.complete())?
    }

    /// Makes the object visible: see [`MultipartUpload::complete_with`].
    pub fn complete_with(&self, options: CompleteOptions) -> Result<ObjectMeta> {
        self.runtime.wait(self.upload.complete_with(options))?
    }

    /// Removes the upload: see [`MultipartUpload::abort`].
    pub fn abort(&self) -> Result<()> {
        self.runtime.wait(self.upload.abort())?
    }
}
