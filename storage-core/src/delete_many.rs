//! [`DeleteMany`]: deletes any number of objects in batches.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::StreamExt;

use crate::deletions::Deletions;
use crate::error::Result;
use crate::key::{IntoKey, Key};
use crate::storage::Storage;

impl Storage {
    /// Deletes many objects, in as few requests as the backend needs: see [`DeleteMany`].
    pub fn delete_many<S>(&self, keys: S) -> DeleteMany
    where
        S: Stream + Send + 'static,
        S::Item: IntoKey,
    {
        DeleteMany(Deletions::new(self.clone(), keys.map(IntoKey::into_key).boxed()))
    }
}

/// Deletes many objects. [`Storage::delete_many`] returns it.
///
/// Await it to delete them all and to learn how many they were: see [`finish`](Self::finish). It is
/// also a `Stream` of the deleted keys, in the order of the source. The key of a missing object
/// counts as deleted, as for [`delete`](Storage::delete).
///
/// A key that cannot be deleted or is invalid is one error item with the key, and the stream
/// continues. An error in the stream of keys is passed on in the same way, so a listing can be the
/// source.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("tmp/1", "").await?;
/// storage.save("tmp/2", "").await?;
/// let deleted = storage.delete_many(storage.list("tmp/").entries()).await?;
/// assert_eq!(deleted, 2);
/// # Ok(()) }
/// ```
///
/// A batch has up to 1,000 keys, and up to four batches run at a time. An incomplete batch starts
/// only if no other runs, so a slow source does not delay the keys that it has yielded. Memory is
/// bounded regardless of the number of keys. The source is first polled when this stream is polled.
/// Dropping the stream stops it: each object of the running batches is deleted or still there.
#[must_use = "nothing is deleted until it is awaited or read"]
pub struct DeleteMany(Deletions<Key>);

impl DeleteMany {
    /// Returns the next deleted key, or the error of one that is not deleted; `None` at the end.
    ///
    /// Cancel-safe: dropping the future loses no key.
    pub async fn next(&mut self) -> Option<Result<Key>> {
        StreamExt::next(self).await
    }

    /// Deletes all remaining keys and returns how many are deleted.
    ///
    /// Dropping the future stops it, as dropping the stream does.
    ///
    /// # Errors
    /// The first error, after all keys have been tried. If several failed, its message states how
    /// many.
    pub async fn finish(self) -> Result<u64> {
        self.0.finish("keys").await
    }
}

/// Deletes all keys, as [`finish`](DeleteMany::finish) does.
impl IntoFuture for DeleteMany {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<'static, Result<u64>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}

impl Stream for DeleteMany {
    type Item = Result<Key>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for DeleteMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteMany").field("storage", self.0.storage()).finish_non_exhaustive()
    }
}
