//! [`Limit`]: being written.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{Driver, DriverInfo};
use crate::entry::EntryStream;
use crate::error::Result;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::object::Object;
use crate::options::{CopyOptions, ListOptions, OpenOptions, SaveOptions, UrlOptions};
use crate::payload::Payload;

/// Being written.
#[derive(Debug, Clone)]
pub struct Limit {
    inner: Arc<dyn Driver>,
}

impl Limit {
    /// Wraps a driver.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, _calls: usize) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl Driver for Limit {
    fn info(&self) -> DriverInfo {
        self.inner.info()
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        self.inner.save(key, payload, options).await
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

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        self.inner.list(prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<ObjectMeta> {
        self.inner.copy(from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.inner.url(key, options).await
    }
}
