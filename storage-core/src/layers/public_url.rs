//! [`PublicUrl`]: public links for a driver that makes none itself.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{Driver, DriverInfo};
use crate::error::Result;
use crate::forward;
use crate::key::Key;
use crate::link::{Link, LinkBase};
use crate::options::{UrlMethod, UrlOptions};

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
        delete_folder_marker, list, copy
    }
}
