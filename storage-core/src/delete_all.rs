//! [`DeleteAll`]: the removal of any number of objects, in batches.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use crate::driver::MAX_DELETE_MANY;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::storage::Storage;

/// How many batches are under way at a time.
const BATCHES: usize = 4;

/// The removal of many objects, which has not begun yet: a `Stream` of the keys that are gone, in the order in which they
/// were given. That there was no object is fine, as for [`delete`](Storage::delete).
///
/// A key that cannot be removed, or is none, is one error item, which carries the key, and the rest goes on. So is
/// an error in the stream of keys: a listing can be handed on as it is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("tmp/1", "").await?;
/// storage.save("tmp/2", "").await?;
/// let deleted = storage.delete_all(storage.list("tmp/").entries()).finish().await?;
/// assert_eq!(deleted, 2);
/// # Ok(()) }
/// ```
///
/// Keys are removed up to 1,000 at a time, and up to four such batches are under way together. A batch that is not full
/// goes off when nothing else is under way, so that a slow source is not waited for. Memory is bounded whatever the
/// number of keys. Nothing is removed, and no key is asked for, before it is polled, and
/// when it is dropped it stops: of the batches under way, each object is gone or still there.
#[must_use = "nothing is deleted until it is read or finished"]
pub struct DeleteAll {
    storage: Storage,
    /// `None` after its end.
    keys: Option<BoxStream<'static, Result<Key>>>,
    /// What goes off next: at most as many as fit.
    batch: Vec<Result<Key>>,
    under_way: FuturesOrdered<BoxFuture<'static, Vec<Result<Key>>>>,
    done: vec::IntoIter<Result<Key>>,
}

impl DeleteAll {
    pub(crate) fn new(storage: Storage, keys: BoxStream<'static, Result<Key>>) -> Self {
        let (batch, done) = (Vec::new(), Vec::new().into_iter());
        Self { storage, keys: Some(keys), batch, under_way: FuturesOrdered::new(), done }
    }

    /// The next key that is gone, or why one is not; `None` at the end. Cancel-safe: a key that was not returned is not
    /// lost.
    pub async fn next(&mut self) -> Option<Result<Key>> {
        StreamExt::next(self).await
    }

    /// Removes all that is left and answers how many keys are gone.
    ///
    /// Dropping the future stops it, as dropping the stream does.
    ///
    /// # Errors
    /// The first one, after all the others have been tried; its message says how many failed.
    pub async fn finish(mut self) -> Result<u64> {
        let (mut deleted, mut failed) = (0_u64, 0_u64);
        let mut first = None;
        while let Some(key) = self.next().await {
            match key {
                Ok(_) => deleted += 1,
                Err(error) => {
                    failed += 1;
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            None => Ok(deleted),
            Some(error) if failed == 1 => Err(error),
            Some(error) => Err(error.with_context(&format!("the first of {failed} errors, {deleted} keys are gone"))),
        }
    }

    /// Takes the keys that are there, and sends off what is to go.
    fn gather(&mut self, cx: &mut Context<'_>) {
        while self.under_way.len() < BATCHES
            && let Some(keys) = &mut self.keys
        {
            match keys.poll_next_unpin(cx) {
                Poll::Ready(Some(key)) => self.batch.push(key),
                Poll::Ready(None) => self.keys = None,
                Poll::Pending => break,
            }
            if self.batch.len() == MAX_DELETE_MANY {
                self.send_off();
            }
        }
        let is_last = self.keys.is_none() && self.under_way.len() < BATCHES;
        if !self.batch.is_empty() && (is_last || self.under_way.is_empty()) {
            self.send_off();
        }
    }

    fn send_off(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.under_way.push_back(Box::pin(delete_batch(self.storage.clone(), batch)));
    }
}

async fn delete_batch(storage: Storage, batch: Vec<Result<Key>>) -> Vec<Result<Key>> {
    let keys: Vec<_> = batch.iter().filter_map(|key| key.as_ref().ok().cloned()).collect();
    let answers = if keys.is_empty() { Vec::new() } else { storage.driver().delete_many(&keys).await };
    let mut answers = answers.into_iter();
    let results = batch.into_iter().map(|key| {
        let key = storage.checked(Operation::Delete, key)?;
        match answers.next().unwrap_or_else(no_answer) {
            Ok(()) => Ok(key),
            Err(error) => Err(storage.told(error, Operation::Delete, key.as_str())),
        }
    });
    results.collect()
}

/// Nothing is taken for gone on the word of a driver that has lost count.
fn no_answer() -> Result<()> {
    Err(Error::new(ErrorKind::Unexpected, "the driver said nothing of this key: it may be gone or not"))
}

impl Stream for DeleteAll {
    type Item = Result<Key>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(key) = this.done.next() {
                return Poll::Ready(Some(key));
            }
            this.gather(cx);
            match this.under_way.poll_next_unpin(cx) {
                Poll::Ready(Some(done)) => this.done = done.into_iter(),
                Poll::Ready(None) if this.keys.is_none() => return Poll::Ready(None),
                // Nothing is under way, so nothing is at hand either: the source is waited for.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl fmt::Debug for DeleteAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteAll").field("storage", &self.storage).finish_non_exhaustive()
    }
}
