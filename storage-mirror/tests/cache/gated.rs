//! [`Gate`]: holds back the last byte of origin's bodies until a test opens the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{
    CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Key, Link, LinkVerifier, ListOptions,
    Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix, RenameOptions, Result,
    SaveOptions, UrlOptions, async_trait,
};
use tokio::sync::Semaphore;

/// Holds back the last byte of each body opened while it is closed.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    is_closed: AtomicBool,
    passed: Semaphore,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        let state = State { is_closed: AtomicBool::new(true), passed: Semaphore::new(0) };
        Self(Arc::new(state))
    }

    /// Lets all bodies end.
    pub(crate) fn open(&self) {
        self.0.is_closed.store(false, Ordering::SeqCst);
        self.0.passed.close();
    }

    /// Puts the gate in front of a driver.
    pub(crate) fn layer(&self, inner: Arc<dyn Driver>) -> Gated {
        Gated { inner, gate: self.clone() }
    }
}

/// A driver behind a [`Gate`].
#[derive(Debug)]
pub(crate) struct Gated {
    inner: Arc<dyn Driver>,
    gate: Gate,
}

#[async_trait]
impl Driver for Gated {
    fn info(&self) -> DriverInfo {
        self.inner.info()
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        self.inner.innermost()
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        self.inner.save(key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = self.inner.open(key, options).await?;
        if !self.gate.0.is_closed.load(Ordering::SeqCst) {
            return Ok(object);
        }
        let (meta, range) = (object.meta().clone(), object.range());
        let gate = self.gate.clone();
        let end = stream::once(async move {
            // An error means that the gate was opened.
            let _ = gate.0.passed.acquire().await;
            Ok(Bytes::new())
        });
        // The body without its last byte, the gate, the last byte.
        let bytes = object.bytes().await?;
        let last = bytes.len().saturating_sub(1);
        let parts = [Ok(bytes.slice(..last))];
        let rest = [Ok(bytes.slice(last..))];
        let chunks = stream::iter(parts).chain(end).chain(stream::iter(rest));
        Ok(Object::from_stream(meta, range, chunks.boxed()))
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

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        self.inner.rename(from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.inner.url(key, options).await
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        self.inner.link_verifier()
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart()
    }
}
