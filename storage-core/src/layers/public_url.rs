//! [`PublicUrl`]: public links for a driver that has none.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{Driver, DriverInfo};
use crate::error::Result;
use crate::forward;
use crate::key::Key;
use crate::link::{Link, LinkBase};
use crate::options::{UrlMethod, UrlOptions};

/// Makes public links from a base URL and the key: the URL of a CDN, a CNAME or a web server that
/// serves the storage's objects.
///
/// The inner driver still makes signed links, which include all links for uploads.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use storage_core::{Memory, layers::PublicUrl};
///
/// let base = "https://media.example.com/".parse()?;
/// let storage = Memory::storage().layer(|inner| PublicUrl::new(inner, base));
/// assert_eq!(storage.url("a.png").await?.as_str(), "https://media.example.com/a.png");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct PublicUrl {
    inner: Arc<dyn Driver>,
    base: LinkBase,
}

impl PublicUrl {
    /// Wraps a driver. The key follows the path of `base`, whether or not that ends in a slash.
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

    forward! {
        to self.inner: innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename
    }
}
