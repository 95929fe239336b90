//! Reads an open file as a stream: large positional reads on the blocking pool, which reuse the
//! buffer after the consumer has dropped it.
//!
//! The stream does not read ahead of the consumer: the kernel does, and a second buffer would push
//! the first one out of the processor's cache.

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

/// The size of one read, which is also the memory of one stream, in bytes. Large enough that the
/// switch to the blocking pool costs little compared to the copy.
const CHUNK: usize = 1024 * 1024;

/// The bytes of a range of a file. Ends early, without an error, if the file does: the caller
/// compares the length.
///
/// Dropping it leaves at most one read running, whose result is discarded.
#[derive(Debug)]
pub(crate) struct FileStream {
    file: Arc<File>,
    rest: Range<u64>,
    reading: Option<JoinHandle<io::Result<BytesMut>>>,
    /// The last chunk. After the consumer has dropped it, it becomes the next buffer, which is in
    /// the processor's cache and need not be zeroed.
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
/// moving the file's cursor. Returns fewer bytes only at the end of the file.
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
