//! [`DeleteMany`]: the removal of any number of objects, in batches.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
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

/// The removal of many objects, which has not begun yet: a `Stream` of the keys that are gone, in
/// the order in which they were given. That there was no object is fine, as for
/// [`delete`](Storage::delete).
///
/// A key that cannot be removed, or is none, is one error item, which carries the key, and the rest
/// goes on. So is an error in the stream of keys: a listing can be handed on as it is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("tmp/1", "").await?;
/// storage.save("tmp/2", "").await?;
/// let deleted = storage.delete_many(storage.list("tmp/").entries()).finish().await?;
/// assert_eq!(deleted, 2);
/// # Ok(()) }
/// ```
///
/// Keys are removed up to 1,000 at a time, and up to four such batches are under way together. A
/// batch that is not full goes off when nothing else is under way, so that a slow source is not
/// waited for. Memory is bounded whatever the number of keys. Nothing is removed, and no key is
/// asked for, before it is polled, and when it is dropped it stops: of the batches under way, each
/// object is gone or still there.
#[must_use = "nothing is deleted until it is read or finished"]
pub struct DeleteMany(Deletions<Key>);

impl DeleteMany {
    /// The next key that is gone, or why one is not; `None` at the end. Cancel-safe: a key that was
    /// not returned is not lost.
    pub async fn next(&mut self) -> Option<Result<Key>> {
        StreamExt::next(self).await
    }

    /// Removes all that is left and answers how many keys are gone.
    ///
    /// Dropping the future stops it, as dropping the stream does.
    ///
    /// # Errors
    /// The first one, after all the others have been tried; its message says how many failed.
    pub async fn finish(self) -> Result<u64> {
        self.0.finish("keys").await
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
