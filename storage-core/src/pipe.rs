//! [`Payload::pipe`]: a payload whose bytes are written, and [`PipeWriter`], which writes them.
//!
//! The end of the bytes is a message of its own. A channel that closes without it is an error of
//! the payload, so a producer that dies cannot leave half an object.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;

use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;

/// The size of the buffer that collects small writes, in bytes.
const MIN_CHUNK: usize = 64 * 1024;

/// The largest part of one write that becomes one chunk, in bytes.
const MAX_CHUNK: usize = 1024 * 1024;

/// How many chunks wait in the channel.
const WAITING_CHUNKS: usize = 1;

enum Message {
    Chunk(Bytes),
    /// The last bytes, which may be none.
    End(Bytes),
}

impl Payload {
    /// Creates a payload whose bytes another task writes.
    ///
    /// The payload ends when [`PipeWriter::finish`] is called. If the writer is dropped before
    /// that, the payload fails, and nothing of it is saved. In a pipe of an operating system or in
    /// `tokio::io::duplex`, a writer that dies looks like a complete stream.
    ///
    /// The writer waits while a chunk of at most 1 MiB waits to be saved. So the two halves must
    /// run concurrently. [`Storage::writer`](crate::Storage::writer) needs no second task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// use storage_core::Payload;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let (mut writer, payload) = Payload::pipe();
    /// let produced = tokio::spawn(async move {
    ///     writer.write_all(b"name,age\n").await?;
    ///     writer.write_all(b"ada,36\n").await?;
    ///     writer.finish().await
    /// });
    /// let meta = storage.save("people.csv", payload).await?;
    /// produced.await.unwrap()?;
    /// assert_eq!(meta.size, 16);
    /// # Ok(()) }
    /// ```
    pub fn pipe() -> (PipeWriter, Self) {
        let (sender, messages) = mpsc::channel(WAITING_CHUNKS);
        let (request, requested) = oneshot::channel();
        let writer = PipeWriter {
            sender: PollSender::new(sender),
            buffer: BytesMut::new(),
            sent: 0,
            is_shut_down: false,
            requested: Some(requested),
        };
        let reader = PipeReader { messages, request: Some(request), has_ended: false };
        (writer, Self::from_stream(reader))
    }
}

/// The writing half of [`Payload::pipe`].
///
/// Small writes are collected in chunks of 64 KiB, and each byte is copied once. At most two chunks
/// are in memory, each of at most 1 MiB. `flush` passes on a chunk that is not full.
///
/// Dropping it before [`finish`](Self::finish) has returned makes the payload fail. `shutdown` ends
/// writing, but not the payload: further writes fail, and `finish` is still needed. Writes fail
/// with `BrokenPipe` after the payload was dropped; the save returns the cause.
///
/// A write, a flush or a `shutdown` that was dropped has written nothing or all that it reported.
#[must_use = "the payload fails unless `finish` is called"]
pub struct PipeWriter {
    sender: PollSender<Message>,
    /// Its capacity is the size of the next chunk.
    buffer: BytesMut,
    /// How many messages were sent.
    sent: u64,
    is_shut_down: bool,
    /// `None` after it has completed.
    requested: Option<oneshot::Receiver<()>>,
}

impl PipeWriter {
    /// Ends the payload. Returns when the reading half can receive the end, which is before the
    /// object is saved. The save returns whether it was.
    ///
    /// If the future is dropped, the payload ends or fails.
    ///
    /// # Errors
    /// `Unexpected` if the payload was dropped, because its save has failed or was dropped.
    pub async fn finish(mut self) -> Result<()> {
        let sent = poll_fn(|cx| self.poll_end(cx)).await;
        sent.map_err(|closed| Error::unexpected("the payload did not reach its end", closed))
    }

    /// Sends the rest and the end.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, Message::End)
    }

    /// Completes when the payload is read for the first time.
    pub(crate) fn poll_requested(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(requested) = &mut self.requested else { return Poll::Pending };
        let result = ready!(Pin::new(requested).poll(cx));
        self.requested = None;
        match result {
            Ok(()) => Poll::Ready(()),
            // The payload was dropped, and is never read.
            Err(_) => Poll::Pending,
        }
    }

    /// Returns how many chunks were passed on.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_shut_down
    }

    /// Sends the buffer, if the channel has room for it.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: impl FnOnce(Bytes) -> Message,
    ) -> Poll<io::Result<()>> {
        let is_open = ready!(self.sender.poll_reserve(cx)).is_ok();
        let chunk = std::mem::take(&mut self.buffer).freeze();
        if !is_open || self.sender.send_item(message(chunk)).is_err() {
            return Poll::Ready(Err(payload_dropped()));
        }
        self.sent += 1;
        Poll::Ready(Ok(()))
    }

    fn is_full(&self) -> bool {
        !self.buffer.is_empty() && self.buffer.len() == self.buffer.capacity()
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_shut_down {
            return Poll::Ready(Err(written_after_shutdown()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.is_full() {
            ready!(this.poll_send(cx, Message::Chunk))?;
        }
        if this.buffer.is_empty() {
            this.buffer = BytesMut::with_capacity(bytes.len().clamp(MIN_CHUNK, MAX_CHUNK));
        }
        let taken = bytes.len().min(this.buffer.capacity() - this.buffer.len());
        this.buffer.extend_from_slice(&bytes[..taken]);
        // Passed on at once if there is room, so that it is saved while the next one is written.
        if this.is_full()
            && let Poll::Ready(sent) = this.poll_send(cx, Message::Chunk)
        {
            sent?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.buffer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        this.poll_send(cx, Message::Chunk)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut_down = true;
        Poll::Ready(Ok(()))
    }
}

fn payload_dropped() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the payload was dropped before its end: its save has failed or was dropped",
    )
}

fn written_after_shutdown() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "no bytes can be written after `shutdown`")
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter")
            .field("buffered", &self.buffer.len())
            .field("is_shut_down", &self.is_shut_down)
            .finish_non_exhaustive()
    }
}

/// The reading half: the chunks of the payload.
struct PipeReader {
    messages: mpsc::Receiver<Message>,
    /// `None` after the first poll.
    request: Option<oneshot::Sender<()>>,
    has_ended: bool,
}

impl Stream for PipeReader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(request) = self.request.take() {
            // The writer waits for this only before the first write.
            let _ = request.send(());
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let message = ready!(self.messages.poll_recv(cx));
        self.has_ended = !matches!(message, Some(Message::Chunk(_)));
        Poll::Ready(match message {
            Some(Message::Chunk(chunk)) => Some(Ok(chunk)),
            Some(Message::End(rest)) => (!rest.is_empty()).then_some(Ok(rest)),
            None => Some(Err(Error::new(
                ErrorKind::Unexpected,
                "the writer was dropped before `finish`, so nothing is saved",
            ))),
        })
    }
}
