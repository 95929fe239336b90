//! [`Cache`]: the driver, with one line for each verb.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use storage_core::{
    CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Key, Link, LinkVerifier, ListOptions,
    Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix, RenameOptions, Result,
    SaveOptions, Storage, UrlOptions, async_trait,
};

use super::config::CacheBuilder;
use super::shared::Shared;
use super::status::Status;
use super::{copy, delete, open, rename, save};

/// A storage with a disk cache in front of it. The [module](super) describes its guarantees.
///
/// Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct Cache(pub(super) Arc<Shared>);

impl Cache {
    /// Returns a builder for a cache of `origin` in the directory `cache_dir`, which may take
    /// `max_size` bytes. The directory is created on first use.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use storage_core::{Memory, Storage};
    /// use storage_mirror::cache::Cache;
    ///
    /// let cache = Cache::builder(Memory::storage(), "/var/cache/app", 10 << 30)
    ///     .ttl(Duration::from_secs(300))
    ///     .build()?;
    /// let storage = Storage::new(cache);
    /// assert_eq!(storage.info().location, "/var/cache/app -> memory:");
    /// # Ok::<(), storage_core::Error>(())
    /// ```
    pub fn builder(origin: Storage, cache_dir: impl Into<PathBuf>, max_size: u64) -> CacheBuilder {
        CacheBuilder::new(origin, cache_dir.into(), max_size)
    }

    /// Returns the counters since the cache was built, and its content. Sends no request.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("location", &self.0.info.location).finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for Cache {
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
        self.0.origin.stat(key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.0.origin.exists(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        delete::delete(&self.0, key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        delete::delete_many(&self.0, keys).await
    }

    // The cache contains no folder markers, because their names are not keys.
    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.0.origin.delete_folder_marker(marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        self.0.origin.list(prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        copy::copy(&self.0, from, to, options).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        rename::rename(&self.0, from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.0.origin.url(key, options).await
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        self.0.origin.link_verifier()
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.0.origin.multipart().map(|_| self as &dyn Multipart)
    }
}
