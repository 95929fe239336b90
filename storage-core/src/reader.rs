//! [`Reader`]: an object that is read at any position, over one version.

use std::fmt;
use std::future::IntoFuture;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, ReadBuf};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::etag::ETag;
use crate::key::{IntoKey, Key};
use crate::metadata::ObjectMeta;
use crate::options::OpenOptions;
use crate::storage::Storage;
use crate::window::{MIN_WINDOW, Source, Window};

impl Storage {
    /// Opens an object to read it at any position: see [`Reader`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// # storage.save("a.bin", "0123456789").await?;
    /// use std::io::SeekFrom;
    /// use tokio::io::{AsyncReadExt, AsyncSeekExt};
    ///
    /// let mut reader = storage.reader("a.bin").await?;
    /// reader.seek(SeekFrom::End(-3)).await?;
    /// let mut end = String::new();
    /// reader.read_to_string(&mut end).await?;
    /// assert_eq!(end, "789");
    /// # Ok(()) }
    /// ```
    ///
    /// To read an object from its beginning to its end, [`open`](Self::open) and
    /// [`Object::into_reader`](crate::Object::into_reader) need one request.
    pub fn reader(&self, key: impl IntoKey) -> OpenReader {
        OpenReader { storage: self.clone(), key: key.into_key(), if_match: None }
    }
}

/// A reader that has not been opened yet. Await it for a [`Reader`].
///
/// The first 64 KiB are received with the metadata, so a small object needs one request. Dropping
/// the future stops the transfer.
///
/// # Errors
/// - `NotFound` if there is no object.
/// - `PreconditionFailed` if the object is not the version of [`if_match`](Self::if_match).
/// - `Unsupported` if the size of the object is unknown, or if the object has more than 64 KiB, no
///   strong ETag, and is neither in memory nor in a local file. Its ranges might then be of
///   different versions. Read it as a whole with [`Storage::open`].
/// - `InvalidKey`, `PermissionDenied`, and other errors of the backend.
#[derive(Debug)]
#[must_use = "nothing is opened until it is awaited"]
pub struct OpenReader {
    storage: Storage,
    key: Result<Key>,
    if_match: Option<ETag>,
}

impl OpenReader {
    /// Fails with `PreconditionFailed` unless the object is this version.
    pub fn if_match(mut self, etag: ETag) -> Self {
        self.if_match = Some(etag);
        self
    }

    async fn run(self) -> Result<Reader> {
        let Self { storage, key, if_match } = self;
        let key = storage.checked_key(Operation::Open, key)?;
        let mut options = OpenOptions::new().range(0..MIN_WINDOW).allow_whole();
        options.if_match = if_match;
        let opened = open(&storage, &key, options).await;
        opened.map_err(|error| storage.with_context(error, Operation::Open, key.as_str()))
    }
}

async fn open(storage: &Storage, key: &Key, mut options: OpenOptions) -> Result<Reader> {
    let object = match storage.driver().open(key, &options).await {
        // An empty object has no range.
        Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
            options.range = None;
            storage.driver().open(key, &options).await
        }
        opened => opened,
    }?;
    let meta = object.meta().clone();
    let (source, window) = Source::of(storage, object).await?;
    Ok(Reader { storage: storage.clone(), meta, source, window, position: 0, fetch: None })
}

impl IntoFuture for OpenReader {
    type Output = Result<Reader>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// An object that is read at any position, as an `AsyncRead`, `AsyncBufRead` and `AsyncSeek`: see
/// [`Storage::reader`]. Methods such as `read_to_end` are those of `tokio::io::AsyncReadExt`, which
/// needs the feature `io-util` of tokio.
///
/// All bytes are of the version that was opened. Readers of formats with an index, such as Parquet
/// and zip, take it directly.
///
/// # How it reads
/// An object in memory and a file on the local disk are open: they are read at positions, also
/// after they have been replaced or deleted. All other objects are read in windows: ranges that the
/// backend returns on the condition that the object still has the same strong ETag
/// (`If-Match`, RFC 9110, section 13.1.1).
///
/// A window has 64 KiB. The next one has twice as many bytes, at most 8 MiB, if reading continues
/// at its end, and 64 KiB again after a seek to a position outside of it. A read into a larger
/// buffer requests as many bytes as the buffer has room for, at most 8 MiB. A window near the end
/// of the object begins early enough to have 64 KiB, because the index of many formats is there and
/// is read backwards. One window is in memory at a time. Between two reads no request is running.
///
/// # Seeking
/// A seek sends no request and completes at once. A position after the end is valid: reads there
/// return no bytes. A position before the beginning fails with `InvalidInput`, and the position
/// stays.
///
/// # Errors
/// Reads return an `io::Error` that contains an [`Error`], which `Error::from` returns. After an
/// error the position is unchanged, and the next read tries again.
///
/// - `PreconditionFailed` if the object has been replaced. Open a new reader.
/// - `NotFound` if it has been deleted.
/// - Other errors of the backend.
///
/// # Cancellation
/// A read that was dropped has returned no bytes. The next one continues the request, unless the
/// position has changed.
pub struct Reader {
    storage: Storage,
    meta: ObjectMeta,
    source: Source,
    window: Window,
    position: u64,
    fetch: Option<Fetch>,
}

/// The window that is being read.
struct Fetch {
    start: u64,
    end: u64,
    bytes: BoxFuture<'static, Result<Bytes>>,
}

impl Reader {
    /// Returns the metadata of the object.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Returns the position of the next byte that is read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the bytes at the position that are in memory, if there are any.
    #[cfg(feature = "blocking")]
    pub(crate) fn buffered(&self) -> &[u8] {
        self.window.bytes_at(self.position)
    }

    /// Completes with the bytes at the position that are in memory: at least one, unless the
    /// position is at or after the end. `wanted` is how many bytes the caller has room for.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<&[u8]>> {
        if self.position < self.meta.size && !self.window.contains(self.position) {
            ready!(self.poll_fetch(cx, wanted))?;
        }
        Poll::Ready(Ok(self.window.bytes_at(self.position)))
    }

    /// Replaces the window by one that contains the position.
    fn poll_fetch(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<()>> {
        let position = self.position;
        let running = self.fetch.take();
        let mut fetch = running
            .filter(|fetch| (fetch.start..fetch.end).contains(&position))
            .unwrap_or_else(|| self.start_fetch(wanted));
        let Poll::Ready(bytes) = fetch.bytes.as_mut().poll(cx) else {
            self.fetch = Some(fetch);
            return Poll::Pending;
        };
        let key = self.meta.key.as_str();
        let bytes =
            bytes.map_err(|error| self.storage.with_context(error, Operation::Open, key))?;
        self.window = Window::new(fetch.start, bytes);
        Poll::Ready(Ok(()))
    }

    fn start_fetch(&mut self, wanted: usize) -> Fetch {
        let max = self.source.max_window();
        let range = self.window.next(self.position, wanted, max, self.meta.size);
        // The old window is dropped first, so that only one is in memory.
        self.window = Window::default();
        let bytes = self.source.read(&self.storage, &self.meta, range.clone());
        Fetch { start: range.start, end: range.end, bytes }
    }

    /// Returns the position that a seek leads to.
    fn target(&self, position: SeekFrom) -> Option<u64> {
        match position {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.meta.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let bytes = ready!(this.poll_bytes(cx, buf.remaining()))?;
        let read = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..read]);
        this.position += read as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Reader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_bytes(cx, 0)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.position += amount as u64;
    }
}

impl AsyncSeek for Reader {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let Some(target) = self.target(position) else {
            let message = format!("{position:?} is before the beginning of the object, or too far");
            let error = Error::new(ErrorKind::InvalidInput, message);
            let key = self.meta.key.as_str();
            return Err(self.storage.with_context(error, Operation::Open, key).into());
        };
        self.position = target;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("meta", &self.meta)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
