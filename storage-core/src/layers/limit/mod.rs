//! [`Limit`]: a maximum of concurrent calls.

mod multipart;

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::driver::Driver;
use crate::entry::EntryStream;
use crate::error::Result;
use crate::forward;
use crate::inspect::BodyEvent;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::object::Object;
use crate::options::{
    CopyOptions, ListOptions, OpenOptions, RenameOptions, SaveOptions, UrlOptions,
};
use crate::payload::Payload;

/// Limits how many calls run at a time. Further calls wait in the order in which they arrive.
///
/// A call holds one permit until it returns or is dropped. The body of an open object holds its
/// permit until it ends, fails or is dropped; a body in memory or in a file needs none. A listing
/// holds a permit while it waits for its next entry and none in between, so that a slow reader
/// blocks no other call. A reader that stops polling in the middle of such a wait, without dropping
/// the listing, keeps the permit.
///
/// Clones share the permits.
///
/// # Deadlock
///
/// A body that streams holds a permit. A caller that reads one while it waits for another call of
/// the same storage (`storage.save("b", storage.open("a").await?)`) needs two permits at a time. If
/// such callers hold all permits, none of them makes progress. With a limit of 1, a single such
/// caller is enough. Use [`copy`](crate::Storage::copy) within a storage, or a limit well above the
/// number of such transfers.
///
/// ```
/// use storage_core::{Memory, layers::Limit};
///
/// let storage = Memory::storage().layer(|inner| Limit::new(inner, 64));
/// ```
#[derive(Debug, Clone)]
pub struct Limit {
    inner: Arc<dyn Driver>,
    permits: Arc<Semaphore>,
}

/// A permit. Never `None`, since the semaphore is never closed.
type Permit = Option<OwnedSemaphorePermit>;

impl Limit {
    /// Wraps a driver. A limit of 0 counts as 1, because with 0 no call could ever run.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, max_concurrent: usize) -> Self {
        let permits = max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        Self { inner, permits: Arc::new(Semaphore::new(permits)) }
    }

    async fn permit(&self) -> Permit {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Takes a permit for each item of a listing.
    fn limited<T: Send + 'static>(&self, items: BoxStream<'static, T>) -> BoxStream<'static, T> {
        let limited = stream::unfold((self.clone(), items), |(limit, mut items)| async {
            let _permit = limit.permit().await;
            let item = items.next().await?;
            Some((item, (limit, items)))
        });
        limited.fuse().boxed()
    }
}

#[async_trait]
impl Driver for Limit {
    forward! { to self.inner: info, innermost, link_verifier }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let _permit = self.permit().await;
        self.inner.save(key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let mut permit = self.permit().await;
        let object = self.inner.open(key, options).await?;
        Ok(object.inspect(move |event| {
            if !matches!(event, BodyEvent::Chunk(_)) {
                drop(permit.take());
            }
        }))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let _permit = self.permit().await;
        self.inner.stat(key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        let _permit = self.permit().await;
        self.inner.exists(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let _permit = self.permit().await;
        self.inner.delete(key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let _permit = self.permit().await;
        self.inner.delete_many(keys).await
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        let _permit = self.permit().await;
        self.inner.delete_folder_marker(marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        self.limited(self.inner.list(prefix, options))
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let _permit = self.permit().await;
        self.inner.copy(from, to, options).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        let _permit = self.permit().await;
        self.inner.rename(from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        let _permit = self.permit().await;
        self.inner.url(key, options).await
    }
}
