//! [`LinkVerifier`]: verifies the signed links of a storage, for the server that they lead to.

use std::time::SystemTime;

use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::link::LinkBase;
use crate::options::UrlMethod;
use crate::signed_url::{Grant, SigningKey};

/// Verifies the signed links of a storage ([`signed_url`](crate::signed_url)) for the server at its
/// `public_url`.
///
/// [`Storage::link_verifier`](crate::Storage::link_verifier) returns one, with the signing key of
/// the driver and with the effect of every layer: the prefix of a storage comes before the key of
/// each link, and a read-only storage accepts no upload. `storage_serve::Serve::for_storage` uses
/// it.
///
/// It does not give access to the signing key, and its `Debug` form does not show it.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use storage_core::layers::PublicUrl;
/// use storage_core::signed_url::SigningKey;
/// use storage_core::{Key, Memory, UrlMethod};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let (base, key) = ("/media/".parse()?, SigningKey::new("a secret of many bytes")?);
/// let storage = Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key));
/// let avatars = storage.prefixed("avatars")?;
/// let link = avatars.url("ada.png").expires_in(Duration::from_secs(60)).await?;
/// assert_eq!(link.without_query(), "/media/avatars/ada.png");
///
/// let verifier = avatars.link_verifier()?;
/// let linked = Key::new("avatars/ada.png")?;
/// let query = link.query().unwrap_or_default();
/// assert!(verifier.verify(UrlMethod::Get, &linked, query, SystemTime::now()).is_ok());
/// assert_eq!(verifier.key(&linked)?, "ada.png");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct LinkVerifier {
    signing_key: SigningKey,
    base: Option<LinkBase>,
    /// Empty, or ends in a slash.
    prefix: String,
    accepts_uploads: bool,
}

impl LinkVerifier {
    /// Creates a verifier of links that are signed with this key. The key in a link is the key of
    /// the object.
    #[must_use]
    pub fn new(signing_key: SigningKey) -> Self {
        Self { signing_key, base: None, prefix: String::new(), accepts_uploads: true }
    }

    /// Sets the URL below which the links are.
    #[must_use]
    pub fn with_base(mut self, base: LinkBase) -> Self {
        self.base = Some(base);
        self
    }

    /// Adds the prefix that a layer adds to every key. Each layer calls this on the verifier of the
    /// driver that it wraps.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix.push_str(prefix);
        self
    }

    /// Refuses links for uploads, as a read-only layer does.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.accepts_uploads = false;
        self
    }

    /// Returns the URL below which the links are, if the driver has one.
    #[must_use]
    pub fn base(&self) -> Option<&LinkBase> {
        self.base.as_ref()
    }

    /// Returns whether a link for PUT can be valid.
    #[must_use]
    pub fn accepts_uploads(&self) -> bool {
        self.accepts_uploads
    }

    /// Converts the key in a link, which begins with the prefixes of the storage's layers, to the
    /// key of the object in the storage.
    ///
    /// # Errors
    /// `NotFound` if the link leads to an object outside of the storage.
    pub fn key(&self, linked: &Key) -> Result<Key> {
        let key = linked.as_str().strip_prefix(&self.prefix);
        key.and_then(|key| Key::new(key).ok()).ok_or_else(Error::not_found)
    }

    /// Verifies the query of a request for the key in a link, as [`SigningKey::verify`] does.
    ///
    /// # Errors
    /// `PermissionDenied`, also for an upload to a read-only storage.
    pub fn verify(
        &self,
        method: UrlMethod,
        linked: &Key,
        query: &str,
        now: SystemTime,
    ) -> Result<Grant> {
        if matches!(method, UrlMethod::Put | UrlMethod::Post) && !self.accepts_uploads {
            return Err(Error::new(ErrorKind::PermissionDenied, "the storage is read-only"));
        }
        self.signing_key.verify(method, linked, query, now)
    }
}
