//! [`Writer`]: an object that is written piece by piece, and saved as a whole.
//!
//! A writer owns the future of its save, and a pipe whose other end is the payload of that save. It
//! polls the save in every call, so it needs no task of its own.

use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::future::BoxFuture;
use tokio::io::AsyncWrite;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{IntoKey, Key};
use crate::metadata::ObjectMeta;
use crate::options::SaveOptions;
use crate::payload::Payload;
use crate::pipe::PipeWriter;
use crate::save::Save;
use crate::storage::Storage;
use crate::text::escape_invisible;

impl Storage {
    /// Writes an object piece by piece: see [`Writer`]. All options of a [`Save`] can be set before
    /// the result is awaited.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut writer = storage.writer("report.csv").content_type("text/csv").await?;
    /// writer.write_all(b"name,age\n").await?;
    /// writer.write_all(b"ada,36\n").await?;
    /// let meta = writer.finish().await?;
    /// assert_eq!(meta.size, 16);
    /// # Ok(()) }
    /// ```
    ///
    /// The future completes as soon as the driver waits for the first bytes.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidInput` for metadata that breaks a rule, and each error that the driver
    /// returns before it reads, such as `PermissionDenied` of a read-only storage. A driver may
    /// refuse a mode such as `create_new` here or later. If the content type is to be guessed from
    /// the first bytes, the driver is called when they have been written.
    pub fn writer(&self, key: impl IntoKey) -> Save<PipeWriter> {
        self.writer_with(key, SaveOptions::default())
    }

    /// Writes an object with these options, which the setters of [`Save`] may change.
    pub fn writer_with(&self, key: impl IntoKey, options: SaveOptions) -> Save<PipeWriter> {
        let (pipe, payload) = Payload::pipe();
        self.save_with(key, payload, options).with_target(pipe)
    }
}

/// Setters for a [`Writer`] only.
impl Save<PipeWriter> {
    /// Declares how many bytes will be written. More or fewer fail the save with `Integrity`. Some
    /// backends store an object of a known size with less work.
    pub fn size(self, bytes: u64) -> Self {
        self.with_payload(|payload| payload.with_size(bytes))
    }

    async fn begin(self) -> Result<Writer> {
        let (save, pipe) = self.into_parts();
        let driver = save.storage().info().name.clone().into_owned();
        let key = save.valid_key().cloned();
        let mut writer =
            Writer { pipe: Some(pipe), save: SaveState::Running(save.into_future()), key, driver };
        poll_fn(|cx| writer.poll_begin(cx)).await?;
        Ok(writer)
    }
}

impl IntoFuture for Save<PipeWriter> {
    type Output = Result<Writer>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

/// An object that is written piece by piece, as an `AsyncWrite`: see [`Storage::writer`].
///
/// [`finish`](Self::finish) saves the object and returns its metadata. Until then no reader sees
/// any of it. Dropping the writer aborts, and the old object is unchanged. Methods such as
/// `write_all` are those of `tokio::io::AsyncWriteExt`, which needs the feature `io-util` of tokio.
///
/// `shutdown` ends writing and does *not* save, because writers of formats such as Parquet and tar
/// call it. Call `finish` after it. A writer that is dropped between the two aborts with a warning
/// in the log.
///
/// Small writes are collected in chunks of 64 KiB, and each byte is copied once. At most two chunks
/// are in memory, each of at most 1 MiB, in addition to the driver's buffers. `flush` reports an
/// error of the save, and makes nothing durable or visible.
///
/// The save runs only while a write, a flush or `finish` is awaited, because no task of its own
/// runs it. A backend may close a connection if the time between two writes is long.
///
/// # Errors
/// If the save fails, the next write or flush returns an `io::Error` of the same kind.
/// `Error::from` returns the [`Error`] in it. `finish` returns the error of the save itself. Writes
/// after `shutdown` fail with `BrokenPipe`.
///
/// # Cancellation
/// A dropped write or flush has written nothing or all that it reported, and the next call
/// continues. If the future of `finish` is dropped, the object is saved completely or not at all.
///
/// # Writers of other crates
/// A writer of a format takes the `Writer` or `&mut Writer`. Close it first, because that writes
/// its index or its last block, and then call `finish`:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// use tokio::io::{AsyncWriteExt, BufWriter};
///
/// let mut writer = storage.writer("a.bin").create_new().await?;
/// let mut format = BufWriter::new(&mut writer);
/// format.write_all(b"hello").await?;
/// format.shutdown().await?;
/// writer.finish().await?;
/// assert_eq!(storage.open("a.bin").await?.text().await?, "hello");
/// # Ok(()) }
/// ```
#[must_use = "nothing is saved until `finish` is awaited"]
pub struct Writer {
    /// `None` after the end of the payload was sent.
    pipe: Option<PipeWriter>,
    save: SaveState,
    /// For the log. `None` if the key is invalid, which the save reports.
    key: Option<Key>,
    driver: String,
}

enum SaveState {
    Running(BoxFuture<'static, Result<ObjectMeta>>),
    /// The save has failed. `finish` returns the error.
    Failed(Error),
    /// The result was returned.
    Returned,
}

impl Writer {
    /// Saves the object, and returns its metadata as [`Storage::save`] does.
    ///
    /// If the future is dropped, the object is saved completely or not at all.
    ///
    /// # Errors
    /// All errors of a [`Save`]. The old object is unchanged then.
    pub async fn finish(mut self) -> Result<ObjectMeta> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// Completes when the driver waits for the first bytes, or with the error of the save.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.poll_failed(cx).is_ready() {
            return Poll::Ready(Err(self.take_failure()));
        }
        self.pipe.as_mut().map_or(Poll::Ready(()), |pipe| pipe.poll_requested(cx)).map(Ok)
    }

    /// Sends the end, then waits for the result of the save.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<ObjectMeta>> {
        if let Some(pipe) = &mut self.pipe {
            let mut sent = pipe.poll_end(cx);
            if sent.is_pending() {
                if self.poll_failed(cx).is_ready() {
                    return Poll::Ready(Err(self.take_failure()));
                }
                // The save may have received a chunk, which makes room for the end.
                sent = match &mut self.pipe {
                    Some(pipe) => pipe.poll_end(cx),
                    None => Poll::Ready(Ok(())),
                };
            }
            // If the payload was dropped, the save returns the reason.
            let is_closed = ready!(sent).is_err();
            self.pipe = None;
            if is_closed {
                return self.poll_failed(cx).map(|()| Err(self.take_failure()));
            }
        }
        match &mut self.save {
            SaveState::Running(save) => {
                let result = ready!(save.as_mut().poll(cx));
                self.save = SaveState::Returned;
                Poll::Ready(result)
            }
            SaveState::Failed(_) | SaveState::Returned => Poll::Ready(Err(self.take_failure())),
        }
    }

    /// Polls the save. Completes when it has failed, and stays complete.
    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let SaveState::Running(save) = &mut self.save {
            let error = match ready!(save.as_mut().poll(cx)) {
                Err(error) => error,
                Ok(_) => self.in_context(ended_early()),
            };
            self.save = SaveState::Failed(error);
        }
        Poll::Ready(())
    }

    fn take_failure(&mut self) -> Error {
        match std::mem::replace(&mut self.save, SaveState::Returned) {
            SaveState::Failed(error) => error,
            _ => self.in_context(Error::new(ErrorKind::Unexpected, "the save has ended")),
        }
    }

    /// Completes with a copy of the error of the save when that has failed.
    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.poll_failed(cx));
        Poll::Ready(match &self.save {
            SaveState::Failed(error) => error.duplicate().into(),
            _ => io::ErrorKind::BrokenPipe.into(),
        })
    }

    /// Calls the pipe and polls the save, until the pipe accepts the call or both wait.
    fn poll_pipe<T>(
        &mut self,
        cx: &mut Context<'_>,
        call: impl Fn(Pin<&mut PipeWriter>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        // The save may make room for the call in its first poll.
        for _ in 0..2 {
            if let SaveState::Failed(error) = &self.save {
                return Poll::Ready(Err(error.duplicate().into()));
            }
            let Some(pipe) = &mut self.pipe else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            if pipe.is_shut_down() {
                return call(Pin::new(pipe), cx);
            }
            let sent_before = pipe.sent();
            let result = call(Pin::new(pipe), cx);
            let has_sent = pipe.sent() != sent_before;
            match result {
                // The payload was dropped. The save returns the reason.
                Poll::Ready(Err(_)) => return self.poll_failure(cx).map(Err),
                Poll::Ready(Ok(value)) => {
                    if has_sent && let Poll::Ready(error) = self.poll_failure(cx) {
                        return Poll::Ready(Err(error));
                    }
                    return Poll::Ready(Ok(value));
                }
                Poll::Pending => {
                    if let Poll::Ready(error) = self.poll_failure(cx) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        Poll::Pending
    }

    fn in_context(&self, error: Error) -> Error {
        let error = error.with_operation(Operation::Save).with_driver(self.driver.clone());
        match &self.key {
            Some(key) => error.with_key(key.as_str()),
            None => error,
        }
    }
}

fn ended_early() -> Error {
    Error::new(ErrorKind::Unexpected, "the driver ended the save before the end of the payload")
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_pipe(cx, |pipe, cx| pipe.poll_write(cx, bytes))
    }

    /// Polls the save. Passes on no chunk that is not full, because many writers flush after every
    /// record.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().poll_failure(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(error) = this.poll_failure(cx) {
            return Poll::Ready(Err(error));
        }
        match &mut this.pipe {
            Some(pipe) => Pin::new(pipe).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A save that has failed or was finished has reported its result.
        let is_running = matches!(self.save, SaveState::Running(_));
        if is_running && self.pipe.as_ref().is_some_and(PipeWriter::is_shut_down) {
            let key = self.key.as_ref().map_or("", Key::as_str);
            tracing::warn!(
                driver = self.driver,
                key = &*escape_invisible(key),
                "a writer was dropped after `shutdown` and before `finish`: nothing was saved, and \
                 the old object is unchanged"
            );
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("driver", &self.driver)
            .field("key", &self.key)
            .field("pipe", &self.pipe)
            .finish_non_exhaustive()
    }
}
