//! [`DefaultMetadata`]: metadata for what is saved without it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::Driver;
use crate::error::Result;
use crate::forward;
use crate::key::Key;
use crate::metadata::{Metadata, ObjectMeta};
use crate::options::SaveOptions;
use crate::payload::Payload;

/// Fills in the metadata that a save leaves open, `Cache-Control` say. What is given stays; copies
/// keep their source's metadata or take what they are given, and an upload through a signed link
/// has what its client sends.
#[derive(Debug, Clone)]
pub struct DefaultMetadata {
    inner: Arc<dyn Driver>,
    defaults: Metadata,
}

impl DefaultMetadata {
    /// Wraps a driver. A default `content_type` never applies: one is always given or guessed
    /// before.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, defaults: Metadata) -> Self {
        Self { inner, defaults }
    }
}

#[async_trait]
impl Driver for DefaultMetadata {
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let mut options = options.clone();
        options.metadata.fill_from(&self.defaults);
        options.metadata = options.metadata.validated()?;
        self.inner.save(key, payload, &options).await
    }

    forward! {
        to self.inner: info, innermost, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, url
    }
}
