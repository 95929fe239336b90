//! [`DefaultMetadata`]: metadata for objects that are saved without it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::Driver;
use crate::error::Result;
use crate::forward;
use crate::forward_multipart;
use crate::key::Key;
use crate::metadata::{Metadata, ObjectMeta};
use crate::multipart::{Multipart, MultipartOptions, UploadId};
use crate::options::SaveOptions;
use crate::payload::Payload;

/// Adds metadata to objects that are saved without it, such as `Cache-Control`.
///
/// A field that the save sets stays as it is. The layer does not change renamed objects and
/// copies: they keep the metadata of their source or take that of the call. Nor does it change
/// uploads through signed links, which have the headers that the client sends.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use storage_core::{Memory, Metadata, layers::DefaultMetadata};
///
/// let defaults = Metadata::new().cache_control("public, max-age=3600");
/// let storage = Memory::storage().layer(|inner| DefaultMetadata::new(inner, defaults));
/// let meta = storage.save("a.png", "...").await?;
/// assert_eq!(meta.metadata.cache_control.as_deref(), Some("public, max-age=3600"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DefaultMetadata {
    inner: Arc<dyn Driver>,
    defaults: Metadata,
}

impl DefaultMetadata {
    /// Wraps a driver. A default `content_type` has no effect, because
    /// [`Storage::save`](crate::Storage::save) always sets one, given or guessed.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, defaults: Metadata) -> Self {
        Self { inner, defaults }
    }

    fn completed(&self, mut metadata: Metadata) -> Result<Metadata> {
        metadata.fill_from(&self.defaults);
        metadata.validated()
    }
}

#[async_trait]
impl Driver for DefaultMetadata {
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let mut options = options.clone();
        options.metadata = self.completed(options.metadata)?;
        self.inner.save(key, payload, &options).await
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    forward! {
        to self.inner: info, innermost, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier
    }
}

#[async_trait]
impl Multipart for DefaultMetadata {
    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        let mut options = options.clone();
        options.metadata = self.completed(options.metadata)?;
        self.inner.multipart()?.begin(key, &options).await
    }

    forward_multipart! {
        to self.inner: limits, put_part, parts, complete, abort, uploads, part_url
    }
}
