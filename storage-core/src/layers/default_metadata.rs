//! [`DefaultMetadata`]: metadata for what is saved without it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{Driver, DriverInfo};
use crate::driver_ref::DriverRef;
use crate::entry::EntryStream;
use crate::error::Result;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::{Metadata, ObjectMeta};
use crate::object::Object;
use crate::options::{CopyOptions, ListOptions, OpenOptions, SaveOptions, UrlOptions};
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
    fn info(&self) -> DriverInfo {
        self.inner.info()
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        self.inner.innermost()
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let mut options = options.clone();
        options.metadata.fill_from(&self.defaults);
        options.metadata = options.metadata.validated()?;
        self.inner.save(key, payload, &options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        self.inner.open(key, options).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.inner.stat(key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.inner.exists(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        self.inner.delete_many(keys).await
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.inner.delete_folder_marker(marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        self.inner.list(prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.inner.copy(from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.inner.url(key, options).await
    }
}
