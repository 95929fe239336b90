//! Reading an open file as a stream: large positional reads on the blocking pool, into the same
//! buffer again where the consumer is done with it.
//!
//! Nothing is read ahead of the consumer: the kernel does that, and a second buffer would push the
//! first one out of the processor's cache.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::task::JoinHandle;

/// The size of one read, and what a stream holds in memory: large enough that the hop to the
/// blocking pool costs little beside the copy.
const CHUNK: usize = 1024 * 1024;

/// The bytes of a range of a file. Ends early, without an error, where the file does: whoever knows
/// how long it should be compares.
///
/// Dropping it leaves at most one read running, which nobody waits for.
#[derive(Debug)]
pub(crate) struct FileStream {
    file: Arc<File>,
    rest: Range<u64>,
    reading: Option<JoinHandle<io::Result<BytesMut>>>,
    /// The chunk that was handed out last. When its receiver has dropped it, it becomes the next
    /// buffer, warm and without being zeroed again.
    lent: Option<Bytes>,
}

impl FileStream {
    pub(crate) fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self { file, rest: range, reading: None, lent: None }
    }

    fn start_read(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let offset = self.rest.start;
        let len = usize::try_from(self.rest.end - offset).map_or(CHUNK, |left| left.min(CHUNK));
        self.rest.start += len as u64;
        let mut buffer = self.buffer(len);
        let file = Arc::clone(&self.file);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let read = read_at_most(&file, &mut buffer, offset)?;
            buffer.truncate(read);
            Ok(buffer)
        }));
    }

    fn buffer(&mut self, len: usize) -> BytesMut {
        if let Some(Ok(mut buffer)) = self.lent.take().map(Bytes::try_into_mut)
            && buffer.len() >= len
        {
            buffer.truncate(len);
            return buffer;
        }
        BytesMut::zeroed(len)
    }
}

impl Stream for FileStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.reading.is_none() {
            self.start_read();
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read =
            ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|join| Err(io::Error::other(join)));
        self.reading = None;
        match read {
            Ok(buffer) if buffer.is_empty() => {
                self.rest.end = self.rest.start;
                Poll::Ready(None)
            }
            Ok(buffer) => {
                let chunk = buffer.freeze();
                self.lent = Some(chunk.clone());
                Poll::Ready(Some(Ok(chunk)))
            }
            Err(error) => {
                self.rest.end = self.rest.start;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

/// Fills the buffer from a position of the file, in as few calls as the system needs, without
/// moving the file's cursor. Fewer bytes than asked for mean that the file ends there.
pub(crate) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_at(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
