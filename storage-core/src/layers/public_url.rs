//! [`PublicUrl`]: public links for a driver that makes none itself.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{Driver, DriverInfo};
use crate::driver_ref::DriverRef;
use crate::entry::EntryStream;
use crate::error::Result;
use crate::key::{Key, Prefix};
use crate::link::{Link, LinkBase};
use crate::metadata::ObjectMeta;
use crate::object::Object;
use crate::options::{CopyOptions, ListOptions, OpenOptions, SaveOptions, UrlMethod, UrlOptions};
use crate::payload::Payload;

/// Answers unsigned links with a base URL and the key: a CNAME, a CDN, a web server that shows the
/// storage's objects. Signed links, and so all links for uploading, are still the inner driver's.
#[derive(Debug, Clone)]
pub struct PublicUrl {
    inner: Arc<dyn Driver>,
    base: LinkBase,
}

impl PublicUrl {
    /// Wraps a driver. Links go below `base`, whether or not its path ends in a slash.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, base: LinkBase) -> Self {
        Self { inner, base }
    }
}

#[async_trait]
impl Driver for PublicUrl {
    fn info(&self) -> DriverInfo {
        let mut info = self.inner.info();
        info.capabilities.public_url = true;
        info
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        self.inner.innermost()
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
        if options.expires_in.is_some()
            || matches!(options.method, UrlMethod::Put | UrlMethod::Post)
        {
            return self.inner.url(key, options).await;
        }
        let mut link = self.base.link(key);
        link.method = options.method;
        Ok(link)
    }
}
