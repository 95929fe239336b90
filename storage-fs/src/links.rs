//! `url`: creates public and signed links below the public URL.

use storage_core::signed_url::SigningKey;
use storage_core::{
    Capabilities, Error, Key, Link, LinkBase, LinkVerifier, Result, UrlMethod, UrlOptions,
};

/// Creates links to objects.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) public_url: Option<LinkBase>,
    pub(crate) signing_key: Option<SigningKey>,
}

impl Links {
    /// Sets the capabilities that concern links.
    pub(crate) fn set_capabilities(&self, capabilities: &mut Capabilities) {
        let has_public_url = self.public_url.is_some();
        let can_sign = has_public_url && self.signing_key.is_some();
        capabilities.public_url = has_public_url;
        capabilities.signed_get = can_sign;
        capabilities.signed_put = can_sign;
    }

    /// Returns a verifier of signed links. Fails with `InvalidConfig` if none can be made.
    pub(crate) fn verifier(&self) -> Result<LinkVerifier> {
        match (&self.public_url, &self.signing_key) {
            (Some(base), Some(key)) => Ok(LinkVerifier::new(key.clone()).with_base(base.clone())),
            (None, _) => Err(Error::config(
                "signed links need public_url: set it to the URL or the path of the server that \
                 serves them, as in /media/",
            )),
            (_, None) => Err(Error::config("signed links need signing_key: set it to a secret")),
        }
    }

    /// Returns a link to an object, signed if the options contain an expiry.
    ///
    /// Fails with `Unsupported` without a public URL, and for a signed link without a signing key.
    pub(crate) fn create(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        let Some(base) = &self.public_url else {
            return Err(Error::unsupported(
                "links need public_url: set it to the URL of the web server that serves the root",
            ));
        };
        match (options.expires_in, &self.signing_key) {
            (Some(_), Some(signing_key)) => signing_key.sign(base, key, options),
            (Some(_), None) => {
                Err(Error::unsupported("signed links need signing_key: set it to a secret"))
            }
            (None, _) => {
                let mut link = base.link(key);
                link.method = if options.method == UrlMethod::Head {
                    UrlMethod::Head
                } else {
                    UrlMethod::Get
                };
                Ok(link)
            }
        }
    }
}
