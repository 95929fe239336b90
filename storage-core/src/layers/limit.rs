//! [`Limit`]: at most so many calls at a time.

use std::sync::Arc;

use async_trait::async_trait;
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
use crate::object::Object;
use crate::options::{CopyOptions, ListOptions, OpenOptions, SaveOptions, UrlOptions};
use crate::payload::Payload;

/// Lets at most so many calls through at a time; the others wait their turn, first come, first
/// served.
///
/// A call takes one place until it is answered or dropped. An opened body that streams keeps its
/// place until it has ended, failed or been dropped; one in memory or in a file needs none. A
/// listing takes a place for each wait for its next entry and none in between, so that a slow
/// reader holds up nobody; a reader that goes away in the middle of a wait, without dropping the
/// listing, keeps the place.
///
/// Clones share the places.
///
/// # Deadlock
/// A body that streams holds a place. Whoever keeps one open while waiting for another call on the
/// same storage (`storage.save("b", storage.open("a").await?)`) needs two places at once; when all
/// places are held by callers who wait for a second one, none of them gets on. With a limit of 1
/// the first such caller is enough. Use `copy` within a storage, and a limit well above the number
/// of such transfers otherwise.
///
/// ```
/// use storage_core::{Memory, layers::Limit};
///
/// let storage = Memory::storage().layer(|inner| Limit::new(inner, 64));
/// ```
#[derive(Debug, Clone)]
pub struct Limit {
    inner: Arc<dyn Driver>,
    places: Arc<Semaphore>,
}

/// A place taken. Nobody closes the semaphore, so it is never `None`.
type Place = Option<OwnedSemaphorePermit>;

impl Limit {
    /// Wraps a driver. A limit of 0, under which nothing could ever happen, is taken for 1.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, max_concurrent: usize) -> Self {
        let places = max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        Self { inner, places: Arc::new(Semaphore::new(places)) }
    }

    async fn place(&self) -> Place {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

#[async_trait]
impl Driver for Limit {
    forward! { to self.inner: info, innermost }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let _place = self.place().await;
        self.inner.save(key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let mut place = self.place().await;
        let object = self.inner.open(key, options).await?;
        Ok(object.inspect(move |event| {
            if !matches!(event, BodyEvent::Chunk(_)) {
                drop(place.take());
            }
        }))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let _place = self.place().await;
        self.inner.stat(key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        let _place = self.place().await;
        self.inner.exists(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let _place = self.place().await;
        self.inner.delete(key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let _place = self.place().await;
        self.inner.delete_many(keys).await
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        let _place = self.place().await;
        self.inner.delete_folder_marker(marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let entries = self.inner.list(prefix, options);
        let taking_turns = stream::unfold((self.clone(), entries), |(limit, mut entries)| async {
            let _place = limit.place().await;
            let entry = entries.next().await?;
            Some((entry, (limit, entries)))
        });
        taking_turns.fuse().boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let _place = self.place().await;
        self.inner.copy(from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        let _place = self.place().await;
        self.inner.url(key, options).await
    }
}
