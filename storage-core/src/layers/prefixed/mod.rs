//! [`Prefixed`]: a directory of a storage as a separate storage.

mod multipart;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use crate::driver::{Driver, DriverInfo};
use crate::driver_ref::DriverRef;
use crate::entry::{Entry, EntryStream};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Key, MAX_KEY_BYTES, Prefix};
use crate::link::Link;
use crate::link_verifier::LinkVerifier;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::object::Object;
use crate::options::{
    CopyOptions, ListOptions, OpenOptions, RenameOptions, SaveOptions, UrlOptions,
};
use crate::payload::Payload;

/// Adds a prefix to every key of a call, and removes it from the keys of results, listings and
/// errors.
///
/// The prefix consists of whole segments: `media` and `media/` both stand for the keys that begin
/// with `media/`. Prefix and key together must be a valid [`Key`] of at most 1024 bytes; a key that
/// is too long with the prefix fails with `InvalidKey`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use storage_core::{Memory, Storage, layers::Prefixed};
///
/// let memory = Memory::new();
/// let media = Prefixed::new(std::sync::Arc::new(memory.clone()), "media")?;
/// Storage::new(media).save("a.txt", "hello").await?;
/// assert!(Storage::new(memory).exists("media/a.txt").await?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Prefixed {
    inner: Arc<dyn Driver>,
    /// Empty, or ends in a slash.
    prefix: Arc<str>,
}

impl Prefixed {
    /// Wraps a driver. An empty prefix changes no key.
    ///
    /// # Errors
    /// `InvalidKey` if no key can begin with the prefix.
    pub fn new(inner: Arc<dyn Driver>, prefix: &str) -> Result<Self> {
        let whole = prefix.strip_suffix('/').unwrap_or(prefix);
        if whole.is_empty() && prefix.is_empty() {
            return Ok(Self { inner, prefix: Arc::from("") });
        }
        let checked = Key::new(whole)?;
        Ok(Self { inner, prefix: Arc::from(format!("{checked}/")) })
    }

    /// Converts a key of a call to the inner driver's.
    fn inside(&self, key: &Key) -> Result<Key> {
        Key::new(format!("{}{key}", self.prefix)).map_err(|_| self.too_long(key.as_str()))
    }

    /// The error for a key that is too long with the prefix: the only rule that a valid prefix and
    /// a valid key can break together.
    fn too_long(&self, key: &str) -> Error {
        let message = format!(
            "with the prefix {:?} before it, the key has more than {MAX_KEY_BYTES} bytes",
            self.prefix
        );
        Error::new(ErrorKind::InvalidKey, message).with_key(key)
    }

    /// Converts a key of the inner driver to the caller's.
    fn outside(&self, inner: &Key) -> Result<Key> {
        match inner.as_str().strip_prefix(&*self.prefix) {
            Some(key) => Key::new(key),
            None => Err(outside_prefix(inner.as_str())),
        }
    }

    fn outside_meta(&self, mut meta: ObjectMeta) -> Result<ObjectMeta> {
        meta.key = self.outside(&meta.key)?;
        Ok(meta)
    }

    fn outside_error(&self, error: Error) -> Error {
        error.map_key(|key| key.strip_prefix(&*self.prefix).map(str::to_owned).unwrap_or(key))
    }

    fn outside_entry(&self, entry: Result<Entry>) -> Result<Entry> {
        match entry {
            Ok(Entry::Object(mut object)) => {
                object.key = self.outside(&object.key)?;
                Ok(Entry::Object(object))
            }
            Ok(Entry::Prefix(prefix)) => match prefix.as_str().strip_prefix(&*self.prefix) {
                Some(rest) => Ok(Entry::Prefix(Prefix::new(rest)?)),
                None => Err(outside_prefix(prefix.as_str())),
            },
            Ok(Entry::FolderMarker(marker)) => match marker.as_str().strip_prefix(&*self.prefix) {
                Some(rest) => Ok(Entry::FolderMarker(Prefix::new(rest)?)),
                None => Err(outside_prefix(marker.as_str())),
            },
            Err(error) => Err(self.outside_error(error)),
        }
    }
}

fn outside_prefix(key: &str) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        "the driver returned a key that does not begin with the prefix",
    )
    .with_key(key)
}

#[async_trait]
impl Driver for Prefixed {
    fn info(&self) -> DriverInfo {
        let mut info = self.inner.info();
        if !self.prefix.is_empty() {
            info.location = format!(
                "{}/{}",
                info.location.trim_end_matches('/'),
                self.prefix.trim_end_matches('/')
            );
        }
        info
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(self.inner.innermost()?.with_prefix(&self.prefix))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let saved = self.inner.save(&self.inside(key)?, payload, options).await;
        saved.map_err(|error| self.outside_error(error)).and_then(|meta| self.outside_meta(meta))
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = self
            .inner
            .open(&self.inside(key)?, options)
            .await
            .map_err(|error| self.outside_error(error))?;
        let key = key.clone();
        let layer = self.clone();
        let object = object.map_stream(move |chunks| {
            chunks.map(move |chunk| chunk.map_err(|error| layer.outside_error(error))).boxed()
        });
        Ok(object.map_meta(|meta| ObjectMeta { key, ..meta }))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.inner.stat(&self.inside(key)?).await;
        meta.map_err(|error| self.outside_error(error)).and_then(|meta| self.outside_meta(meta))
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.inner.exists(&self.inside(key)?).await.map_err(|error| self.outside_error(error))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(&self.inside(key)?).await.map_err(|error| self.outside_error(error))
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let inside: Vec<_> = keys.iter().map(|key| self.inside(key)).collect();
        let possible: Vec<_> = inside.iter().filter_map(|key| key.as_ref().ok().cloned()).collect();
        let mut results = self.inner.delete_many(&possible).await.into_iter();
        // The driver returns no result for keys that are too long.
        let outside = inside.into_iter().map_while(|key| match key {
            Ok(_) => results.next().map(|result| result.map_err(|error| self.outside_error(error))),
            Err(error) => Some(Err(error)),
        });
        outside.collect()
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        let inside = Prefix::new(format!("{}{marker}", self.prefix))
            .map_err(|_| self.too_long(marker.as_str()))?;
        self.inner.delete_folder_marker(&inside).await.map_err(|error| self.outside_error(error))
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let Ok(inside) = Prefix::new(format!("{}{prefix}", self.prefix)) else {
            return stream::iter([Err(self.too_long(prefix.as_str()))]).boxed();
        };
        let start_after =
            options.start_after.as_ref().map(|after| format!("{}{after}", self.prefix));
        let options = ListOptions { start_after, ..options.clone() };
        let layer = self.clone();
        self.inner.list(&inside, &options).map(move |entry| layer.outside_entry(entry)).boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let copied = self.inner.copy(&self.inside(from)?, &self.inside(to)?, options).await;
        copied.map_err(|error| self.outside_error(error))
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        let renamed = self.inner.rename(&self.inside(from)?, &self.inside(to)?, options).await;
        renamed.map_err(|error| self.outside_error(error))
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.inner.url(&self.inside(key)?, options).await.map_err(|error| self.outside_error(error))
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        Ok(self.inner.link_verifier()?.with_prefix(&self.prefix))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }
}
