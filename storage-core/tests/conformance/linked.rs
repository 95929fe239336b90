//! [`Linked`]: signed and public links for the memory driver, so that it shows which layer would lose them.

use std::sync::Arc;

use storage_core::signed_url::SigningKey;
use storage_core::{
    CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, Key, Link, LinkBase,
    ListOptions, Object, ObjectMeta, OpenOptions, Payload, Prefix, Result, SaveOptions, UrlMethod,
    UrlOptions, async_trait,
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
        match (options.expires_in, options.method) {
            (Some(_), _) => self.signer.sign(&self.base, key, options),
            (None, UrlMethod::Put | UrlMethod::Post) => {
                Err(Error::unsupported("a link for uploading needs expires_in"))
            }
            (None, _) => Ok(self.base.link(key)),
        }
    }
}
