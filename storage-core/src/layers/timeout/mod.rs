//! [`Timeout`]: a limit on the time without a response or progress.

mod multipart;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::entry::EntryStream;
use crate::error::{Error, ErrorKind, Result};
use crate::forward;
use crate::key::{Key, Prefix};
use crate::layers::away::{Away, within};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::object::Object;
use crate::options::{
    CopyOptions, ListOptions, OpenOptions, RenameOptions, SaveOptions, UrlOptions,
};
use crate::payload::Payload;

/// A payload in memory or in a file may take the timeout once for each started step of this many
/// bytes.
const STEP_BYTES: u64 = 1024 * 1024;

/// `delete_many` may take the timeout once for each started step of this many keys, because some
/// backends delete them one by one.
const STEP_KEYS: u64 = 100;

/// Fails a call with `Timeout` if its driver neither returns nor makes progress for a time. It
/// never limits a large transfer as a whole.
///
/// | verb | what must happen within the time |
/// |---|---|
/// | `stat`, `exists`, `delete`, `delete_folder_marker`, `copy`, `rename`, `url` | the call returns |
/// | `open` | the call returns; then each chunk of a body that streams arrives |
/// | `list` | each entry arrives |
/// | `save` of a stream | the driver reads the next chunk; after the last one, the call returns |
/// | `save` of bytes in memory or a file | the call returns; the time applies once for each started MiB |
/// | `put_part` of a multipart upload | as `save` |
/// | the other verbs of multipart uploads | the call returns, or each item of a listing arrives |
/// | `delete_many` | each batch returns; the time applies once for each started 100 keys |
///
/// The time in which the driver waits for the caller's own stream does not count, nor does the time
/// that the caller takes between two chunks or entries, or before it polls a future that was woken.
/// A body in a file is read by the caller and has no timeout.
///
/// A payload in memory shows no progress, so the layer allows time for its size. Save a large one
/// as a stream to detect a stalled save sooner. A copy or a rename shows no progress either: choose
/// a time in which the backend copies the largest object.
///
/// A call that runs out of time is dropped. The error `Timeout` is retryable, except that of a
/// rename. A save, delete or copy may have happened by then, completely or not at all. So may a
/// rename; on a backend that copies and deletes, both objects may exist.
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
    /// Wraps a driver. A duration of zero fails every call that does not return at once.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, after: Duration) -> Self {
        Self { inner, after }
    }

    /// Runs a call that only reads.
    async fn read<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        within(self.after, call).await.unwrap_or_else(|| {
            Err(timed_out(format!("no response within {:?} (option timeout)", self.after)))
        })
    }

    /// Runs a call that changes something.
    async fn write<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        within(self.after, call).await.unwrap_or_else(|| Err(write_timed_out(self.after)))
    }

    /// Runs a call that sends a payload.
    async fn send<T, F>(&self, payload: Payload, call: impl FnOnce(Payload) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let progress = Progress::new();
        let after = match payload.is_replayable() {
            true => allowance(self.after, payload.size().unwrap_or(0), STEP_BYTES),
            false => self.after,
        };
        let payload =
            payload.map_stream(|chunks| Watched { chunks, progress: progress.clone() }.boxed());
        progress.watch(after, call(payload)).await.unwrap_or_else(|| {
            Err(timed_out(format!(
                "no progress for {after:?} (option timeout {:?}); the change may have happened \
                 nevertheless",
                self.after
            )))
        })
    }
}

fn timed_out(message: String) -> Error {
    Error::new(ErrorKind::Timeout, message)
}

fn write_timed_out(after: Duration) -> Error {
    timed_out(format!(
        "no response within {after:?} (option timeout); the change may have happened nevertheless"
    ))
}

/// Returns the time for a call that shows no progress: `after` once for each started step.
fn allowance(after: Duration, size: u64, step: u64) -> Duration {
    let steps = size.div_ceil(step).max(1);
    after.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

/// Limits the wait for each next item. The timeout error is the last item.
fn bounded<T: Send + 'static>(
    items: BoxStream<'static, Result<T>>,
    after: Duration,
    what: &'static str,
) -> BoxStream<'static, Result<T>> {
    let waits = stream::unfold(Some(items), move |items| async move {
        let mut items = items?;
        match within(after, items.next()).await {
            Some(item) => item.map(|item| (item, Some(items))),
            None => {
                Some((Err(timed_out(format!("no {what} within {after:?} (option timeout)"))), None))
            }
        }
    });
    // `unfold` panics when it is polled after its end.
    waits.fuse().boxed()
}

/// The progress of a save, shared by the payload's stream, which the driver may read in another
/// task, and the timer.
#[derive(Clone)]
struct Progress(Arc<Mutex<Turn>>);

/// Which side has to act next.
#[derive(Clone, Copy)]
enum Turn {
    /// The caller: the driver waits for the next chunk.
    Caller,
    /// The driver, since this time.
    Driver(Instant),
}

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Turn::Driver(Instant::now()))))
    }

    fn set(&self, turn: Turn) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    /// Returns how long the driver has been due to act, without interruption.
    fn idle(&self) -> Duration {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Turn::Caller => Duration::ZERO,
            Turn::Driver(since) => since.elapsed(),
        }
    }

    /// Excludes the last part of the time until now, in which the caller did not poll the save.
    fn exclude(&self, time: Duration) {
        if let Turn::Driver(since) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            *since = (*since + time).min(Instant::now());
        }
    }

    /// Runs a save. Returns `None` if the driver has been due to act for this long.
    async fn watch<T>(&self, after: Duration, save: impl Future<Output = T>) -> Option<T> {
        let away = Away::new();
        let (mut save, mut stalled) = (pin!(save), pin!(self.stalled(after)));
        poll_fn(|cx| {
            let (waker, time) = away.poll(cx);
            self.exclude(time);
            let cx = &mut Context::from_waker(&waker);
            match save.as_mut().poll(cx) {
                Poll::Ready(saved) => Poll::Ready(Some(saved)),
                Poll::Pending => stalled.as_mut().poll(cx).map(|()| None),
            }
        })
        .await
    }

    /// Completes when the driver has been due to act for this long. It checks only at times at
    /// which that is possible, so the stream need not wake it.
    async fn stalled(&self, after: Duration) {
        let mut idle = self.idle();
        while idle < after {
            tokio::time::sleep(after - idle).await;
            idle = self.idle();
        }
    }
}

/// A payload's stream that records which side has to act next.
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
    // A driver that has dropped the stream no longer waits for it.
    fn drop(&mut self) {
        self.progress.set(Turn::Driver(Instant::now()));
    }
}

#[async_trait]
impl Driver for Timeout {
    forward! { to self.inner: info, innermost, link_verifier }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        self.send(payload, |payload| self.inner.save(key, payload, options)).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = self.read(self.inner.open(key, options)).await?;
        Ok(object.map_stream(|chunks| bounded(chunks, self.after, "more of the body")))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.read(self.inner.stat(key)).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.read(self.inner.exists(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.write(self.inner.delete(key)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let after = allowance(self.after, keys.len() as u64, STEP_KEYS);
        match within(after, self.inner.delete_many(keys)).await {
            Some(results) => results,
            None => keys.iter().map(|_| Err(write_timed_out(after))).collect(),
        }
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.write(self.inner.delete_folder_marker(marker)).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        bounded(self.inner.list(prefix, options), self.after, "more of the listing")
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.write(self.inner.copy(from, to, options)).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        let renamed = self.write(self.inner.rename(from, to, options)).await;
        // Of a rename that timed out, a second attempt could find the effect.
        renamed.map_err(|error| match error.kind() {
            ErrorKind::Timeout => error.with_retryable(false),
            _ => error,
        })
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.read(self.inner.url(key, options)).await
    }
}
