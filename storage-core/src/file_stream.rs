//! Reads an open file as a stream: large positional reads, which reuse the buffer after the
//! consumer has dropped it.
//!
//! A driver may provide a function that reads what is in the system's cache. If the last chunks
//! were in the cache, the next one is read on the calling thread, which saves two switches between
//! threads. All others are read on the blocking pool.
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
use tokio::task::{JoinHandle, coop};

/// The size of one read, which is also the memory of one stream, in bytes. Large enough that the
/// switch to the blocking pool costs little compared to the copy.
const CHUNK: usize = 1024 * 1024;

/// How many chunks in a row must have been in the system's cache before the next one is read on the
/// calling thread. A read that should not wait still makes the system read ahead, and may wait for
/// the blocks that say where the content of the file is. That happens to the first chunk of a file
/// that is not cached, so the first chunk is read on the blocking pool.
const CACHED_IN_A_ROW: u32 = 4;

/// How much of Tokio's budget for a task (128 units) a read on the calling thread takes. A task
/// then reads at most 4 MiB before other tasks have their turn.
const BUDGET_OF_CACHED_READ: usize = 32;

/// Reads bytes at a position of a file that are in the system's cache, without waiting for a disk.
/// Returns `None` if that is not possible, and fewer bytes if the others are not in the cache.
pub type CachedRead = fn(&File, &mut [u8], u64) -> Option<usize>;

/// The bytes of a range of a file. Ends early, without an error, if the file does: the caller
/// compares the length.
///
/// Dropping it leaves at most one read running, whose result is discarded.
#[derive(Debug)]
pub(crate) struct FileStream {
    file: Arc<File>,
    rest: Range<u64>,
    cached_read: Option<CachedRead>,
    /// How many chunks in a row were in the system's cache.
    cached: u32,
    reading: Option<JoinHandle<io::Result<Chunk>>>,
    /// The last chunk. After the consumer has dropped it, it becomes the next buffer, which is in
    /// the processor's cache and need not be zeroed.
    lent: Option<Bytes>,
}

/// A chunk that the blocking pool has read.
#[derive(Debug)]
struct Chunk {
    bytes: BytesMut,
    was_cached: bool,
}

impl FileStream {
    pub(crate) fn new(file: Arc<File>, range: Range<u64>, cached_read: Option<CachedRead>) -> Self {
        Self { file, rest: range, cached_read, cached: 0, reading: None, lent: None }
    }

    /// Returns the function to read the next chunk with on the calling thread, if the chunk is
    /// likely to be in the system's cache.
    fn read_here(&self) -> Option<CachedRead> {
        self.cached_read.filter(|_| self.cached >= CACHED_IN_A_ROW)
    }

    /// Returns the next chunk, or starts to read it, or the part that is not in the system's cache,
    /// on the blocking pool.
    fn read_or_start(&mut self) -> Option<Bytes> {
        let offset = self.rest.start;
        let len = usize::try_from(self.rest.end - offset).map_or(CHUNK, |left| left.min(CHUNK));
        self.rest.start += len as u64;
        let mut buffer = self.buffer(len);
        let Some(read) = self.read_here() else {
            self.start_read(buffer, 0, offset, self.cached_read);
            return None;
        };
        let filled = read(&self.file, &mut buffer, offset).map_or(0, |read| read.min(len));
        if filled == len {
            return Some(self.lend(buffer));
        }
        self.start_read(buffer, filled, offset, None);
        None
    }

    /// Starts to fill the rest of a buffer on the blocking pool. Tries first whether all of it is
    /// in the system's cache, if `cached_read` is set.
    fn start_read(
        &mut self,
        mut bytes: BytesMut,
        filled: usize,
        offset: u64,
        cached_read: Option<CachedRead>,
    ) {
        let file = Arc::clone(&self.file);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let (rest, offset) = (&mut bytes[filled..], offset + filled as u64);
            let cached = cached_read.and_then(|read| read(&file, rest, offset)).unwrap_or(0);
            let was_cached = cached == rest.len();
            let cached = cached.min(rest.len());
            let read = read_at_most(&file, &mut rest[cached..], offset + cached as u64)?;
            bytes.truncate(filled + cached + read);
            Ok(Chunk { bytes, was_cached })
        }));
    }

    /// Keeps the buffer, to use it again when the consumer has dropped the chunk.
    fn lend(&mut self, buffer: BytesMut) -> Bytes {
        let chunk = buffer.freeze();
        self.lent = Some(chunk.clone());
        chunk
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
        if self.reading.is_none() && !self.rest.is_empty() {
            if self.read_here().is_some() {
                for _ in 0..BUDGET_OF_CACHED_READ {
                    ready!(coop::poll_proceed(cx)).made_progress();
                }
            }
            if let Some(chunk) = self.read_or_start() {
                return Poll::Ready(Some(Ok(chunk)));
            }
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read =
            ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|join| Err(io::Error::other(join)));
        self.reading = None;
        match read {
            Ok(chunk) if chunk.bytes.is_empty() => {
                self.rest.end = self.rest.start;
                Poll::Ready(None)
            }
            Ok(Chunk { bytes, was_cached }) => {
                self.cached = if was_cached { self.cached.saturating_add(1) } else { 0 };
                Poll::Ready(Some(Ok(self.lend(bytes))))
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt, StreamExt, TryStreamExt};

    use super::*;

    const SIZE: usize = 20 * CHUNK + 5;

    fn file() -> (Arc<File>, Vec<u8>) {
        let bytes: Vec<u8> = (0..SIZE).map(|n| (n / 1_000 % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (Arc::new(file), bytes)
    }

    fn all(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
        read_at_most(file, buffer, offset).ok()
    }

    fn half(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
        let len = buffer.len() / 2;
        all(file, &mut buffer[..len], offset)
    }

    fn nothing(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
        None
    }

    #[tokio::test]
    async fn the_chunks_are_the_bytes_of_the_file_whatever_the_cache_contains() {
        let (file, bytes) = file();
        for cached in [None, Some(all as CachedRead), Some(half), Some(nothing)] {
            for range in [0..SIZE, 7..3 * CHUNK, 5..5] {
                let positions = range.start as u64..range.end as u64;
                let stream = FileStream::new(Arc::clone(&file), positions, cached);
                let read: Vec<Bytes> = stream.try_collect().await.unwrap();
                assert!(read.concat() == bytes[range]);
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_ends_early_ends_the_stream() {
        let (file, bytes) = file();
        for cached in [all as CachedRead, half, nothing] {
            let end = 2 * SIZE as u64;
            let stream = FileStream::new(Arc::clone(&file), 0..end, Some(cached));
            let read: Vec<Bytes> = stream.try_collect().await.unwrap();
            assert!(read.concat() == bytes);
        }
    }

    /// Reads the chunks before the first one that is read on the calling thread.
    async fn until_read_here(stream: &mut FileStream) {
        for _ in 0..CACHED_IN_A_ROW {
            assert!(stream.read_here().is_none());
            stream.next().await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_task_that_reads_from_the_cache_gives_other_tasks_their_turn() {
        let (file, _) = file();
        let mut stream = FileStream::new(file, 0..SIZE as u64, Some(all));
        until_read_here(&mut stream).await;
        tokio::task::yield_now().await;
        let mut at_once = 0;
        while stream.next().now_or_never().is_some() {
            at_once += 1;
        }
        assert_eq!(at_once, 128 / BUDGET_OF_CACHED_READ);
        tokio::task::yield_now().await;
        assert!(stream.next().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_chunk_that_is_partly_in_the_cache_is_completed_on_the_blocking_pool() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn all_then_half(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
            match ASKED.fetch_add(1, Ordering::Relaxed) < CACHED_IN_A_ROW as usize {
                true => all(file, buffer, offset),
                false => half(file, buffer, offset),
            }
        }
        let (file, bytes) = file();
        let mut stream = FileStream::new(file, 0..SIZE as u64, Some(all_then_half));
        until_read_here(&mut stream).await;
        let at = CACHED_IN_A_ROW as usize * CHUNK;
        assert!(stream.read_here().is_some());
        assert!(stream.next().await.unwrap().unwrap() == bytes[at..at + CHUNK]);
        assert!(stream.read_here().is_none());
    }

    /// A read that should not wait for a disk may do so nevertheless.
    #[tokio::test]
    async fn the_calling_thread_never_reads_a_file_that_is_not_in_the_cache() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        thread_local! { static IS_CALLER: Cell<bool> = const { Cell::new(false) } }
        fn not_on_the_caller(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
            assert!(!IS_CALLER.get());
            ASKED.fetch_add(1, Ordering::Relaxed);
            None
        }
        IS_CALLER.set(true);
        let (file, bytes) = file();
        let stream = FileStream::new(file, 0..SIZE as u64, Some(not_on_the_caller));
        let read: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert!(read.concat() == bytes);
        assert_eq!(ASKED.load(Ordering::Relaxed), SIZE.div_ceil(CHUNK));
    }
}
