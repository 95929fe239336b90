//! [`HttpCache`]: the driver. One line for each verb.

use std::fmt;
use std::sync::Arc;

use storage_core::{
    CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Key, Link, LinkVerifier, ListOptions,
    Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix, RenameOptions, Result,
    SaveOptions, UrlOptions, async_trait,
};

use crate::shared::{Inner, Shared};
use crate::status::Status;
use crate::{copy, delete, link, list, open, rename, save, stat};

/// Reads objects from a mirror, and from origin if the mirror fails. Writes to origin.
///
/// Create it with [`HttpCache::builder`], or by configuration after [`register`](crate::register).
/// Clones share connections and state. All methods need a Tokio runtime.
///
/// # Reading
///
/// `open` requests the object from the mirror. It reads from origin if the mirror does not have the
/// object, fails, or is not used after earlier failures. A body that breaks off or stalls continues
/// at origin, at the next byte of the same version. If origin now has another version, or none, the
/// body ends with a retryable `Integrity` error. If origin fails too, the body ends with the error
/// of origin.
///
/// `open` may return an old version for as long as the mirror considers it fresh, by its `ttl` or
/// by the `Cache-Control` of the object. Within the `memo` time, `open` returns no older version
/// than the one that this driver wrote or read from origin, if sizes or ETags distinguish them.
///
/// `stat`, `exists` and `list` read from origin and are always current.
///
/// # Writing
///
/// A write goes to origin, and then the driver purges the key at each mirror. From before a write
/// until a mirror has confirmed its purge, the key bypasses this mirror, even if the outcome of the
/// write is unknown or its future was dropped. If origin refuses a write, so that it certainly
/// changed nothing, nothing is purged. Purges are repeated in the background until they are
/// confirmed. Other processes may read the old version until the mirror has purged it or it has
/// expired. A process that ends does not repeat its unconfirmed purges. Without a `token`, or with
/// `on_save = "none"`, nothing is purged: the key bypasses the mirrors for one hour, through this
/// driver.
///
/// # Metadata
///
/// `last_modified` has whole seconds from each source, as in HTTP. `stat` returns all other
/// metadata as origin has it. `open` does the same if the memo contains this version, and then also
/// compares the bytes of a whole object with its checksum. Otherwise `open` returns what the
/// headers of the mirror contain. The server of `storage-mirror` sends everything but checksums if
/// it accepts the `token`; other servers may omit user metadata or add a `Content-Disposition`.
#[derive(Clone)]
pub struct HttpCache(pub(crate) Shared);

impl HttpCache {
    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Returns the states of the mirrors and the counts of hits, fallbacks and bytes. Sends no
    /// request.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.counts.status(self.0.mirrors.iter().map(|mirror| mirror.status()).collect())
    }
}

impl fmt::Debug for HttpCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache").field("location", &self.0.info.location).finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for HttpCache {
    fn info(&self) -> DriverInfo {
        self.0.info.clone()
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        save::save(&self.0, key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        open::open(&self.0, key, options).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        stat::stat(&self.0, key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        stat::exists(&self.0, key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        delete::delete(&self.0, key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        delete::delete_many(&self.0, keys).await
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.0.origin.delete_folder_marker(marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        list::list(&self.0, prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        copy::copy(&self.0, from, to, options).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        rename::rename(&self.0, from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        link::url(&self.0, key, options).await
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        link::verifier(&self.0)
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.0.origin.multipart().map(|_| self as &dyn Multipart)
    }
}
