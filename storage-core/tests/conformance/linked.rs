//! [`Linked`]: signed and public links for the memory driver, so that it shows which layer would lose them.

use std::sync::Arc;

use storage_core::signed_url::SigningKey;
use storage_core::{
    Driver, DriverInfo, Error, Key, Link, LinkBase, Result, UrlMethod, UrlOptions, async_trait,
    forward,
};

#[derive(Debug)]
pub(crate) struct Linked {
    inner: Arc<dyn Driver>,
    base: LinkBase,
    signer: SigningKey,
}

impl Linked {
    pub(crate) fn new(inner: Arc<dyn Driver>) -> Self {
        let base = "https://signed.example.com/".parse().unwrap();
        Self { inner, base, signer: SigningKey::new("a secret for tests alone").unwrap() }
    }
}

#[async_trait]
impl Driver for Linked {
    fn info(&self) -> DriverInfo {
        let mut info = self.inner.info();
        info.capabilities.public_url = true;
        info.capabilities.signed_get = true;
        info.capabilities.signed_put = true;
        info
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        match (options.expires_in, options.method) {
            (Some(_), _) => self.signer.sign(&self.base, key, options),
            (None, UrlMethod::Put | UrlMethod::Post) => {
                Err(Error::unsupported("a link for uploading needs expires_in"))
            }
            (None, _) => Ok(self.base.link(key)),
        }
    }

    forward! {
        to self.inner: innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename
    }
}
