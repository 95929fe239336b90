//! [`Timeout`]: a bound on the time without an answer or progress, never on the whole of a large transfer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::entry::EntryStream;
use crate::error::{Error, ErrorKind, Result};
use crate::forward;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::object::Object;
use crate::options::{CopyOptions, ListOptions, OpenOptions, SaveOptions, UrlOptions};
use crate::payload::Payload;

/// Payloads that are there already may take the time once for each of these bytes begun.
const STEP: u64 = 1024 * 1024;

/// Many deletes may take the time once for each of these keys begun: not every backend has one
/// request for all.
const KEYS: u64 = 100;

/// Gives up on a driver that neither answers nor gets on.
///
/// What has to happen within the time:
///
/// | verb | what |
/// |---|---|
/// | `stat`, `exists`, `delete`, `copy`, `url` | the answer |
/// | `open` | the answer; after it, each chunk of a body that streams |
/// | `list` | each entry |
/// | `save` of a stream | that the driver asks for the next chunk; after the last one, the answer |
/// | `save` of bytes in memory or a file | the answer, with the time once for each MiB begun |
/// | `delete_many` | the answer for each batch, with the time once for each 100 keys begun |
///
/// The time a driver spends waiting for the caller's own stream does not count, nor does the time
/// between two chunks or entries that the caller takes: a slow client is not the backend's fault. A
/// body in a file is the caller's to read and is not watched. A payload in memory shows no
/// progress, so the layer can but allow for its size: hand over a large one as a stream to learn
/// sooner that its save stalls. A copy shows none either and is bounded all the same: allow for the
/// largest object that the backend copies by itself.
///
/// What runs out of time is dropped, and answers `Timeout`, which is retryable. A save, delete or
/// copy may have happened by then, its answer alone being late: completely or not at all, as
/// always.
///
/// ```
/// use std::time::Duration;
/// use storage_core::{Memory, layers::Timeout};
///
/// let storage = Memory::storage().layer(|inner| Timeout::new(inner, Duration::from_secs(30)));
/// ```
#[derive(Debug, Clone)]
pub struct Timeout {
    inner: Arc<dyn Driver>,
    after: Duration,
}

impl Timeout {
    /// Wraps a driver. A duration of zero fails whatever is not answered on the spot.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, after: Duration) -> Self {
        Self { inner, after }
    }

    async fn answer<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match tokio::time::timeout(self.after, call).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out(format!("no answer within {:?} (option timeout)", self.after))),
        }
    }

    /// For calls that change something.
    async fn change<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match tokio::time::timeout(self.after, call).await {
            Ok(answer) => answer,
            Err(_) => Err(changed_in_vain(self.after)),
        }
    }
}

fn timed_out(message: String) -> Error {
    Error::new(ErrorKind::Timeout, message)
}

fn changed_in_vain(after: Duration) -> Error {
    timed_out(format!(
        "no answer within {after:?} (option timeout); it may have happened all the same"
    ))
}

/// The time for what shows no progress: once for each step begun.
fn allowance(after: Duration, size: u64, step: u64) -> Duration {
    let steps = size.div_ceil(step).max(1);
    after.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

/// Bounds each wait for the next item. The error is the last item.
fn bounded<T: Send + 'static>(
    items: BoxStream<'static, Result<T>>,
    after: Duration,
    what: &'static str,
) -> BoxStream<'static, Result<T>> {
    let waits = stream::unfold(Some(items), move |items| async move {
        let mut items = items?;
        match tokio::time::timeout(after, items.next()).await {
            Ok(item) => item.map(|item| (item, Some(items))),
            Err(_) => {
                Some((Err(timed_out(format!("no {what} within {after:?} (option timeout)"))), None))
            }
        }
    });
    // Unfold panics when it is polled after its end; a stream of ours does not.
    waits.fuse().boxed()
}

/// What is known of a save's progress: shared by the payload's stream, which the driver may read in
/// a task of its own, and whoever watches the clock.
#[derive(Clone)]
struct Progress(Arc<Mutex<Turn>>);

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Turn {
    /// The caller's: the driver waits for the next chunk.
    Caller,
    /// The driver's, since then.
    Driver(Instant),
}

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Turn::Driver(Instant::now()))))
    }

    fn set(&self, turn: Turn) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    /// For how long it has been the driver's turn without a break.
    fn quiet(&self) -> Duration {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Turn::Caller => Duration::ZERO,
            Turn::Driver(since) => since.elapsed(),
        }
    }

    /// Ends when it has been the driver's turn for this long. Looks only when that could be so,
    /// hence needs no waking by the stream.
    async fn stalled(&self, after: Duration) {
        let mut quiet = self.quiet();
        while quiet < after {
            tokio::time::sleep(after - quiet).await;
            quiet = self.quiet();
        }
    }
}

/// A payload's stream that notes whose turn it is.
struct Watched {
    chunks: BoxStream<'static, Result<Bytes>>,
    progress: Progress,
}

impl Stream for Watched {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = self.chunks.poll_next_unpin(cx);
        self.progress.set(if chunk.is_pending() {
            Turn::Caller
        } else {
            Turn::Driver(Instant::now())
        });
        chunk
    }
}

impl Drop for Watched {
    // A driver that has given up on the stream waits for it no longer.
    fn drop(&mut self) {
        self.progress.set(Turn::Driver(Instant::now()));
    }
}

#[async_trait]
impl Driver for Timeout {
    forward! { to self.inner: info, innermost }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let progress = Progress::new();
        let after = match payload.is_replayable() {
            true => allowance(self.after, payload.size().unwrap_or(0), STEP),
            false => self.after,
        };
        let payload =
            payload.map_stream(|chunks| Watched { chunks, progress: progress.clone() }.boxed());
        let stalled = std::pin::pin!(progress.stalled(after));
        match select(self.inner.save(key, payload, options), stalled).await {
            Either::Left((saved, _)) => saved,
            Either::Right(_) => Err(timed_out(format!(
                "no progress for {after:?} (option timeout {:?}); it may have happened all the same",
                self.after
            ))),
        }
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = self.answer(self.inner.open(key, options)).await?;
        Ok(object.map_stream(|chunks| bounded(chunks, self.after, "more of the body")))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.answer(self.inner.stat(key)).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.answer(self.inner.exists(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.change(self.inner.delete(key)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let after = allowance(self.after, keys.len() as u64, KEYS);
        match tokio::time::timeout(after, self.inner.delete_many(keys)).await {
            Ok(answers) => answers,
            Err(_) => keys.iter().map(|_| Err(changed_in_vain(after))).collect(),
        }
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.change(self.inner.delete_folder_marker(marker)).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        bounded(self.inner.list(prefix, options), self.after, "more of the listing")
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.change(self.inner.copy(from, to, options)).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.answer(self.inner.url(key, options)).await
    }
}
