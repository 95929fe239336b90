//! [`ReadOnly`]: refuses every call that would change the storage.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{Capabilities, Driver, DriverInfo};
use crate::driver_ref::DriverRef;
use crate::error::{Error, ErrorKind, Result};
use crate::forward;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::link_verifier::LinkVerifier;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::options::{CopyOptions, RenameOptions, SaveOptions, UrlMethod, UrlOptions};
use crate::payload::Payload;

/// Refuses every call that would change the storage. These fail with `PermissionDenied`: saves,
/// deletes, copies, renames, multipart uploads including their listings, links for uploads, and
/// [`Storage::driver_as`](crate::Storage::driver_as).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use storage_core::{ErrorKind, Memory, layers::ReadOnly};
///
/// let storage = Memory::storage().layer(ReadOnly::new);
/// let error = storage.save("a.txt", "hello").await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ReadOnly {
    inner: Arc<dyn Driver>,
}

impl ReadOnly {
    /// Wraps a driver.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>) -> Self {
        Self { inner }
    }
}

fn refused<T>() -> Result<T> {
    Err(Error::new(ErrorKind::PermissionDenied, "this storage is read-only (option read_only)"))
}

#[async_trait]
impl Driver for ReadOnly {
    fn info(&self) -> DriverInfo {
        let mut info = self.inner.info();
        info.capabilities = Capabilities {
            write: false,
            copy: false,
            rename: false,
            create_new: false,
            save_if_match: false,
            signed_put: false,
            signed_post: false,
            ..info.capabilities
        };
        info
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        refused()
    }

    async fn save(
        &self,
        _key: &Key,
        _payload: Payload,
        _options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        refused()
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        refused()
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        keys.iter().map(|_| refused()).collect()
    }

    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        refused()
    }

    async fn copy(&self, _from: &Key, _to: &Key, _options: &CopyOptions) -> Result<()> {
        refused()
    }

    async fn rename(&self, _from: &Key, _to: &Key, _options: &RenameOptions) -> Result<()> {
        refused()
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        match options.method {
            UrlMethod::Put | UrlMethod::Post => refused(),
            _ => self.inner.url(key, options).await,
        }
    }

    /// A link for an upload may have been signed by a handle on the same driver without this layer.
    fn link_verifier(&self) -> Result<LinkVerifier> {
        Ok(self.inner.link_verifier()?.read_only())
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        refused()
    }

    forward! {
        to self.inner: open, stat, exists, list
    }
}
