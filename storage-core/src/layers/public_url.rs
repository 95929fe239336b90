//! [`PublicUrl`]: public and signed links for a driver that has none.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{Driver, DriverInfo};
use crate::error::{Error, Result};
use crate::forward;
use crate::key::Key;
use crate::link::{Link, LinkBase};
use crate::link_verifier::LinkVerifier;
use crate::options::{UrlMethod, UrlOptions};
use crate::signed_url::SigningKey;

/// Makes public links from a base URL and the key: the URL of a CDN, a CNAME or a web server that
/// serves the storage's objects.
///
/// With [`signing_key`](Self::signing_key) it also signs links, for a server that verifies them as
/// `storage-serve` does. Without it, the inner driver still makes signed links, which include all
/// links for uploads. Forms for POST are always the inner driver's.
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
    signer: Option<Signer>,
}

#[derive(Debug, Clone)]
struct Signer {
    key: SigningKey,
    /// Whether the inner driver can save the upload of a link.
    signs_uploads: bool,
}

impl PublicUrl {
    /// Wraps a driver. The key follows the path of `base`, whether or not that ends in a slash.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, base: LinkBase) -> Self {
        Self { inner, base, signer: None }
    }

    /// Signs links with this key, in the format of [`signed_url`](crate::signed_url). The server at
    /// the base URL must verify that format. `storage_serve::Serve::for_storage` does, and takes
    /// the key from here.
    ///
    /// ```
    /// use std::time::Duration;
    /// use storage_core::signed_url::SigningKey;
    /// use storage_core::{Memory, layers::PublicUrl};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// let (base, key) = ("/media/".parse()?, SigningKey::new("a secret of many bytes")?);
    /// let storage = Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key));
    /// let link = storage.url("a.png").expires_in(Duration::from_secs(60)).await?;
    /// assert!(link.as_str().starts_with("/media/a.png?X-Storage-Method=GET"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        let signs_uploads = self.inner.info().capabilities.write;
        self.signer = Some(Signer { key, signs_uploads });
        self
    }

    fn signed(&self, signer: &Signer, key: &Key, options: &UrlOptions) -> Result<Link> {
        if options.method == UrlMethod::Put && !signer.signs_uploads {
            return Err(Error::unsupported(
                "the driver saves no objects, so a link cannot upload one",
            ));
        }
        signer.key.sign(&self.base, key, options)
    }
}

#[async_trait]
impl Driver for PublicUrl {
    fn info(&self) -> DriverInfo {
        let mut info = self.inner.info();
        info.capabilities.public_url = true;
        if let Some(signer) = &self.signer {
            info.capabilities.signed_get = true;
            info.capabilities.signed_put = signer.signs_uploads;
        }
        info
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        match (options.method, options.expires_in, &self.signer) {
            (UrlMethod::Post, _, _) | (UrlMethod::Put, _, None) | (_, Some(_), None) => {
                self.inner.url(key, options).await
            }
            (_, Some(_), Some(signer)) | (UrlMethod::Put, None, Some(signer)) => {
                self.signed(signer, key, options)
            }
            (_, None, _) => {
                let mut link = self.base.link(key);
                link.method = options.method;
                Ok(link)
            }
        }
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        let Some(Signer { key, signs_uploads }) = &self.signer else {
            return self.inner.link_verifier();
        };
        let verifier = LinkVerifier::new(key.clone()).with_base(self.base.clone());
        Ok(if *signs_uploads { verifier } else { verifier.read_only() })
    }

    forward! {
        to self.inner: innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, multipart
    }
}
