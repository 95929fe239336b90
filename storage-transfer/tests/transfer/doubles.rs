//! Layers that misbehave as real storages do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use storage_core::{
    Driver, DriverInfo, ETag, Entry, EntryStream, Key, ListOptions, Object, ObjectMeta,
    OpenOptions, Prefix, Result, Storage, forward,
};

/// A layer whose listings are changed.
pub(crate) struct Relisted {
    inner: Arc<dyn Driver>,
    change: fn(Vec<Result<Entry>>) -> Vec<Result<Entry>>,
}

/// Wraps a storage so that its listings are changed. Holds whole listings in memory.
pub(crate) fn relisted(
    storage: &Storage,
    change: fn(Vec<Result<Entry>>) -> Vec<Result<Entry>>,
) -> Storage {
    storage.layer(|inner| Relisted { inner, change })
}

impl fmt::Debug for Relisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relisted")
    }
}

#[async_trait]
impl Driver for Relisted {
    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let (entries, change) = (self.inner.list(prefix, options), self.change);
        let changed = async move { stream::iter(change(entries.collect().await)) };
        stream::once(changed).flatten().boxed()
    }

    forward! {
        to self.inner: info, innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, copy, rename, url, link_verifier, multipart
    }
}

/// What a layer does before the n-th open, counted from 1.
type BeforeOpen = Box<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

/// A layer that acts before each open, and counts the bodies that are read at a time.
pub(crate) struct Opened {
    inner: Arc<dyn Driver>,
    before: BeforeOpen,
    opens: AtomicUsize,
    bodies: Arc<Bodies>,
}

/// How many bodies are open, and how many were at most.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Bodies {
    /// Returns how many bodies were open at a time at most.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// A body that is neither at its end nor dropped.
struct OpenBody(Arc<Bodies>);

impl Drop for OpenBody {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Wraps a storage so that a function runs before each open.
pub(crate) fn opened(
    storage: &Storage,
    before: impl Fn(usize) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> (Storage, Arc<Bodies>) {
    let bodies = Arc::<Bodies>::default();
    let layer = |inner| Opened {
        inner,
        before: Box::new(before),
        opens: AtomicUsize::new(0),
        bodies: Arc::clone(&bodies),
    };
    let storage = storage.layer(layer);
    (storage, bodies)
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

#[async_trait]
impl Driver for Opened {
    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let number = self.opens.fetch_add(1, Ordering::SeqCst) + 1;
        (self.before)(number).await;
        let object = self.inner.open(key, options).await?;
        let now = self.bodies.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.bodies.most.fetch_max(now, Ordering::SeqCst);
        let body = OpenBody(Arc::clone(&self.bodies));
        let (meta, range) = (object.meta().clone(), object.range());
        let chunks = object.into_stream().map(move |chunk| {
            let _body = &body;
            chunk
        });
        Ok(Object::from_stream(meta, range, chunks))
    }

    forward! {
        to self.inner: info, innermost, save, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

/// A layer whose storage keeps no metadata but the content type.
#[derive(Debug)]
pub(crate) struct WithoutMetadata {
    inner: Arc<dyn Driver>,
}

/// Wraps a storage so that it keeps no metadata.
pub(crate) fn without_metadata(storage: &Storage) -> Storage {
    storage.layer(|inner| WithoutMetadata { inner })
}

#[async_trait]
impl Driver for WithoutMetadata {
    fn info(&self) -> DriverInfo {
        let mut info = self.inner.info();
        info.capabilities.metadata = false;
        info
    }

    forward! {
        to self.inner: innermost, save, open, stat, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}

/// A layer whose ETags are weak at the first looks, as those of files that another program has just
/// written.
#[derive(Debug)]
pub(crate) struct WeakAtFirst {
    inner: Arc<dyn Driver>,
    looks: AtomicUsize,
}

/// Wraps a storage so that the first looks find weak ETags.
pub(crate) fn weak_at_first(storage: &Storage, looks: usize) -> Storage {
    storage.layer(|inner| WeakAtFirst { inner, looks: AtomicUsize::new(looks) })
}

#[async_trait]
impl Driver for WeakAtFirst {
    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let mut meta = self.inner.stat(key).await?;
        let is_first =
            self.looks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if let (Ok(_), Some(etag)) = (is_first, &meta.etag) {
            meta.etag = Some(ETag::weak(etag.opaque())?);
            meta.last_modified = Some(SystemTime::now());
        }
        Ok(meta)
    }

    forward! {
        to self.inner: info, innermost, save, open, exists, delete, delete_many,
        delete_folder_marker, list, copy, rename, url, link_verifier, multipart
    }
}
