//! [`HttpCache`]: the driver, and what its verbs share.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use storage_core::{
    CopyOptions, Driver, DriverInfo, DriverRef, Entry, EntryStream, ErrorKind, Key, Link,
    ListOptions, Object, ObjectMeta, OpenOptions, Payload, Prefix, Result, SaveOptions, Storage,
    UrlOptions, async_trait,
};
use url::Url;

use super::{open, rendezvous, write};
use crate::config::HttpCacheBuilder;
use crate::known::{Known, in_whole_seconds, whole_second};
use crate::link::{self, LinkPolicy};
use crate::mirror::Mirror;
use crate::status::{OriginCounts, Status};

/// Reads objects from a mirror, and from origin on any trouble with the mirror; writes to origin.
///
/// Cheap to clone; clones share connections and state.
///
/// # Reading
/// `open` asks the mirror, and origin if the mirror does not have the object, does not answer in
/// time, answers with an error, or is left alone after such trouble. A body that breaks off or
/// stalls goes on at origin, at the next byte and in the same version; if there is another version
/// by then, it ends with an error (`Integrity`, retryable), never with a mixture. What `open`
/// answers may be as old as the mirror's freshness allows: its `ttl`, or what the object's
/// `Cache-Control` says. It is never older than what this driver itself has written, or was told by
/// origin, within the `memo` time, as far as sizes and ETags can tell.
///
/// `stat`, `exists` and `list` ask origin, so that they are always true.
///
/// # Writing
/// Writes go to origin, then each mirror purges the key. From before a write begins until every
/// purge after it has been confirmed, the key bypasses the mirror, so that this driver never reads
/// what it has replaced; also if the write's outcome is unknown, or its future was dropped. Purges
/// are tried again in the background. Other processes may read what the mirror still has until it
/// is purged or no longer fresh; a process that ends leaves its unconfirmed purges undone. Without
/// a `token` nothing is purged: the key bypasses the mirror for an hour, in this process.
///
/// # Metadata
/// `last_modified` is told in whole seconds, as HTTP carries it, whoever answers. `stat` tells all
/// the rest as origin has it, and so does `open` if origin told of the same version within the
/// `memo` time; then also the bytes of a whole object are compared with its checksum. Else `open`
/// tells what the mirror's headers tell: of our own server, if it knows the `token`, all but
/// checksums; of others perhaps no user metadata, or a `Content-Disposition` that keeps browsers
/// from harm.
#[derive(Clone)]
pub struct HttpCache(Arc<Shared>);

/// What the verbs share.
pub(crate) struct Shared {
    pub(crate) origin: Arc<dyn Driver>,
    pub(crate) info: DriverInfo,
    pub(crate) mirrors: Vec<Arc<Mirror>>,
    /// Of each mirror, for the order in which they are tried.
    pub(crate) seeds: Vec<u64>,
    pub(crate) known: Known,
    pub(crate) links: LinkPolicy,
    pub(crate) counts: OriginCounts,
}

impl HttpCache {
    /// Mirrors, tried for each key in an order of its own, and the storage that they mirror.
    ///
    /// ```
    /// use storage_core::{Memory, Storage};
    /// use storage_http_cache::HttpCache;
    ///
    /// let mirror = "https://downloads.example.com/".parse()?;
    /// let cache = HttpCache::builder(vec![mirror], Memory::storage()).token("secret").build()?;
    /// let storage = Storage::new(cache.clone());
    /// assert_eq!(storage.info().location, "https://downloads.example.com/ -> memory:");
    /// assert_eq!(cache.status().mirrors[0].requests, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn builder(mirrors: Vec<Url>, origin: Storage) -> HttpCacheBuilder {
        HttpCacheBuilder::new(mirrors, origin)
    }

    pub(crate) fn from_shared(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// How it is doing: the mirrors' states, hits, fallbacks, bytes. Asks nobody.
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

impl Shared {
    /// The mirrors, in the order in which they are tried for a key.
    pub(crate) fn mirrors_for(&self, key: &Key) -> impl Iterator<Item = &Arc<Mirror>> + use<'_> {
        let order = rendezvous::order(&self.seeds, key);
        order.into_iter().map(|position| &self.mirrors[position])
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
        write::save(&self.0, key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        open::open(&self.0, key, options).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let asked = self.0.known.ticket();
        let stat = self.0.origin.stat(key).await.map(in_whole_seconds);
        match &stat {
            Ok(meta) => self.0.known.is_there(meta, asked),
            Err(error) if error.kind() == ErrorKind::NotFound => self.0.known.is_absent(key, asked),
            Err(_) => {}
        }
        stat
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        let asked = self.0.known.ticket();
        let exists = self.0.origin.exists(key).await?;
        if exists {
            self.0.known.exists(key);
        } else {
            self.0.known.is_absent(key, asked);
        }
        Ok(exists)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        write::delete(&self.0, key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        write::delete_many(&self.0, keys).await
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.0.origin.delete_folder_marker(marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let entries = self.0.origin.list(prefix, options).map(|entry| {
            entry.map(|entry| match entry {
                Entry::Object(mut object) => {
                    object.last_modified = object.last_modified.map(whole_second);
                    Entry::Object(object)
                }
                other => other,
            })
        });
        entries.boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        write::copy(&self.0, from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        link::url(&self.0, key, options).await
    }
}
