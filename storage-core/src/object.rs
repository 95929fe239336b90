//! [`Object`]: the result of [`Storage::open`](crate::Storage::open), metadata and a body that streams.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use crate::atomic_file;
use crate::blocking_pool::run_blocking;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::file_stream::{CachedRead, FileStream, read_at_most};
use crate::inspect::{BodyEvent, Inspected};
use crate::metadata::ObjectMeta;
use crate::payload::Payload;

/// Upper bound for the memory that is preallocated from a length that a server states, in bytes.
const MAX_PREALLOCATED: u64 = 4 * 1024 * 1024;

/// An open object: its metadata, and the bytes of the requested range.
///
/// Metadata and bytes are of one version: if the object is overwritten while it is read, the body
/// continues as the old version or fails, and never mixes two. A body that ends early is an error.
/// Dropping an object, or a stream made of it, stops reading.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// storage.save("notes/a.txt", "hello").await?;
/// let object = storage.open("notes/a.txt").range(1..3).await?;
/// assert_eq!(object.meta().size, 5);
/// assert_eq!(object.range(), 1..3);
/// assert_eq!(object.text().await?, "el");
/// # Ok(()) }
/// ```
pub struct Object {
    meta: ObjectMeta,
    range: Range<u64>,
    body: Body,
    pub(crate) driver: Option<Cow<'static, str>>,
    guard: Option<Guard>,
    cached_read: Option<CachedRead>,
}

/// A value that is dropped together with the body.
pub(crate) type Guard = Box<dyn Any + Send + Sync>;

/// The body of a whole object that needs no stream.
pub(crate) enum WholeBody {
    Bytes(Bytes),
    File(Arc<File>),
}

enum Body {
    Bytes(Bytes),
    File(Arc<File>),
    Stream(BoxStream<'static, Result<Bytes>>),
}

impl Object {
    fn new(meta: ObjectMeta, range: Range<u64>, body: Body) -> Self {
        Self { meta, range, body, driver: None, guard: None, cached_read: None }
    }

    /// Creates an object whose bytes of the range are in memory. For drivers.
    #[must_use]
    pub fn from_bytes(meta: ObjectMeta, range: Range<u64>, bytes: Bytes) -> Self {
        Self::new(meta, range, Body::Bytes(bytes))
    }

    /// Creates an object in a file, which must not be truncated or overwritten in place. For
    /// drivers.
    #[must_use]
    pub fn from_file(meta: ObjectMeta, range: Range<u64>, file: File) -> Self {
        Self::from_shared_file(meta, range, Arc::new(file))
    }

    pub(crate) fn from_shared_file(meta: ObjectMeta, range: Range<u64>, file: Arc<File>) -> Self {
        Self::new(meta, range, Body::File(file))
    }

    /// Creates an object whose bytes of the range arrive as a stream. For drivers.
    pub fn from_stream<S>(meta: ObjectMeta, range: Range<u64>, chunks: S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        Self::new(meta, range, Body::Stream(chunks.boxed()))
    }

    /// Creates a whole object whose size is not known before its last byte, and sets the size of
    /// the metadata to [`ObjectMeta::UNKNOWN_SIZE`]. For drivers, if the caller set
    /// [`OpenOptions::allow_unknown_size`](crate::OpenOptions::allow_unknown_size).
    ///
    /// The stream must fail if the body breaks off, because without a size no other check can
    /// detect it.
    pub fn from_stream_of_unknown_size<S>(mut meta: ObjectMeta, chunks: S) -> Self
    where
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        meta.size = ObjectMeta::UNKNOWN_SIZE;
        Self::from_stream(meta, 0..ObjectMeta::UNKNOWN_SIZE, chunks)
    }

    /// Keeps a value until the body is dropped or read to its end, such as a reservation of disk
    /// space. For drivers.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Returns the metadata of the whole object.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Returns the positions of the bytes that the body yields: all of them, unless a range was
    /// opened.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Returns how many bytes the body yields; [`ObjectMeta::UNKNOWN_SIZE`] if the size of the
    /// object is not known.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Returns the open file that contains the body, for a server that sends [`range`](Self::range)
    /// of it without copying (`sendfile`); `None` if the body is not in a file.
    ///
    /// Other readers share the file's cursor: read at positions.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<File>> {
        match &self.body {
            Body::File(file) => Some(file),
            _ => None,
        }
    }

    /// Narrows the body to these positions of the object, if that needs no reading: if the body is
    /// in memory or in a file. For servers that decide after opening which bytes to send.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// # storage.save("a.txt", "hello").await?;
    /// let object = storage.open("a.txt").await?;
    /// let part = object.narrow(1..3).expect("the bytes are in memory");
    /// assert_eq!(part.text().await?, "el");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the unchanged object if its body streams, or if the range is not inside of
    /// [`range`](Self::range).
    #[allow(clippy::result_large_err, reason = "the error is the object itself")]
    pub fn narrow(mut self, range: Range<u64>) -> std::result::Result<Self, Self> {
        let is_inside = self.range.start <= range.start
            && range.start <= range.end
            && range.end <= self.range.end;
        if !is_inside || self.meta.known_size().is_none() {
            return Err(self);
        }
        match &mut self.body {
            Body::Stream(_) => return Err(self),
            Body::File(_) => {}
            Body::Bytes(bytes) => {
                let position = |at: u64| usize::try_from(at - self.range.start).ok();
                let (Some(start), Some(end)) = (position(range.start), position(range.end)) else {
                    return Err(self);
                };
                // A driver may pass fewer bytes than it states, which reading reports.
                if end > bytes.len() {
                    return Err(self);
                }
                *bytes = bytes.slice(start..end);
            }
        }
        self.range = range;
        Ok(self)
    }

    /// Replaces the metadata, for a layer whose callers use other keys than its driver.
    #[must_use]
    pub fn map_meta(mut self, map: impl FnOnce(ObjectMeta) -> ObjectMeta) -> Self {
        self.meta = map(self.meta);
        self
    }

    /// Wraps the chunks of a body that streams, for a layer that observes or repairs it. Bodies in
    /// memory or in a file are left as they are.
    #[must_use]
    pub fn map_stream<F>(mut self, wrap: F) -> Self
    where
        F: FnOnce(BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>>,
    {
        if let Body::Stream(chunks) = self.body {
            self.body = Body::Stream(wrap(chunks));
        }
        self
    }

    /// Reports each chunk of the body, its end or its error as they pass, for a layer that counts
    /// or logs them. A body in memory or in a file stays one and is reported at once, by its
    /// length.
    ///
    /// The closure is dropped after the last event, or with the body.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # let storage = storage_core::Memory::storage();
    /// # storage.save("a", "hello").await?;
    /// use storage_core::BodyEvent;
    ///
    /// let total = Arc::new(AtomicU64::new(0));
    /// let count = Arc::clone(&total);
    /// let object = storage.open("a").await?.inspect(move |event| match event {
    ///     BodyEvent::Ready(bytes) => drop(count.fetch_add(bytes, Ordering::Relaxed)),
    ///     BodyEvent::Chunk(chunk) => drop(count.fetch_add(chunk.len() as u64, Ordering::Relaxed)),
    ///     _ => {}
    /// });
    /// assert_eq!(object.text().await?, "hello");
    /// assert_eq!(total.load(Ordering::Relaxed), 5);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn inspect<F>(self, mut inspect: F) -> Self
    where
        F: FnMut(BodyEvent<'_>) + Send + Unpin + 'static,
    {
        match &self.body {
            Body::Bytes(_) | Body::File(_) => {
                inspect(BodyEvent::Ready(self.content_length()));
                self
            }
            Body::Stream(_) => self.map_stream(|chunks| Inspected::new(chunks, inspect).boxed()),
        }
    }

    pub(crate) fn with_driver(mut self, driver: Cow<'static, str>) -> Self {
        self.driver = Some(driver);
        self
    }

    /// Converts the body to a stream of non-empty chunks, of
    /// [`content_length`](Self::content_length) bytes in total.
    ///
    /// A body of more bytes ends with the error `Integrity`. A body of fewer bytes ends with a
    /// retryable `Unexpected`, because its usual cause is a broken connection. The body of an
    /// object of unknown size may have any length.
    #[must_use]
    pub fn into_stream(self) -> ObjectStream {
        let left = self.meta.known_size().map(|_| self.content_length());
        let chunks = match self.body {
            Body::Bytes(bytes) => stream::once(async { Ok(bytes) }).boxed(),
            Body::File(file) => {
                FileStream::new(file, self.range, self.cached_read).map_err(Error::from).boxed()
            }
            Body::Stream(chunks) => chunks,
        };
        ObjectStream {
            chunks,
            left,
            done: false,
            key: self.meta.key.to_string(),
            driver: self.driver,
            _guard: self.guard,
        }
    }

    /// Takes the body and its guard if the body is the whole object, in memory or in a file. Leaves
    /// an object without a body then.
    pub(crate) fn take_whole(&mut self) -> Option<(WholeBody, Option<Guard>)> {
        if self.range != (0..self.meta.size) {
            return None;
        }
        let body = match &mut self.body {
            Body::Bytes(bytes) if bytes.len() as u64 == self.meta.size => {
                WholeBody::Bytes(std::mem::take(bytes))
            }
            Body::File(file) => WholeBody::File(Arc::clone(file)),
            _ => return None,
        };
        Some((body, self.guard.take()))
    }

    /// Splits the object into its metadata and its body.
    ///
    /// The metadata is that of the whole object, also if a [`range`](Self::range) was opened.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let (from, to) = (storage_core::Memory::storage(), storage_core::Memory::storage());
    /// # from.save("a.bin", "hello").content_type("text/x-mine").await?;
    /// use storage_core::Payload;
    ///
    /// let (meta, chunks) = from.open("a.bin").await?.into_parts();
    /// let payload = Payload::from_stream(chunks).with_size(meta.size);
    /// let copy = to.save(meta.key, payload).metadata(meta.metadata).await?;
    /// assert_eq!(copy.content_type(), Some("text/x-mine"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (ObjectMeta, ObjectStream) {
        (self.meta.clone(), self.into_stream())
    }

    /// Converts the body to an `AsyncRead` and `AsyncBufRead`.
    #[must_use]
    pub fn into_reader(self) -> ObjectReader {
        ObjectReader(StreamReader::new(self.into_stream()))
    }

    /// Reads the whole body into memory, regardless of its size. Use
    /// [`bytes_up_to`](Self::bytes_up_to) for objects from untrusted sources.
    ///
    /// # Errors
    /// Any error of reading. No partial body is returned.
    pub async fn bytes(self) -> Result<Bytes> {
        self.bytes_up_to(u64::MAX).await
    }

    /// Reads the whole body into memory, if it has at most `max` bytes.
    ///
    /// # Errors
    /// `TooLarge` if it has more: before anything is read, or while it is read if its size is not
    /// known. Otherwise as [`bytes`](Self::bytes).
    pub async fn bytes_up_to(self, max: u64) -> Result<Bytes> {
        if self.meta.known_size().is_none() {
            return self.collect(max).await;
        }
        let len = self.content_length();
        if len > max {
            let message = format!("the body has {len} bytes; at most {max} are allowed");
            let error = Error::new(ErrorKind::TooLarge, message);
            return Err(in_body(error, self.meta.key.as_str(), self.driver));
        }
        match self.body {
            Body::Bytes(bytes) if bytes.len() as u64 == len => Ok(bytes),
            Body::File(file) => read_whole(file, self.range)
                .await
                .map_err(|error| in_body(error, self.meta.key.as_str(), self.driver)),
            _ => {
                let mut all = BytesMut::with_capacity(
                    usize::try_from(len.min(MAX_PREALLOCATED)).unwrap_or(0),
                );
                let mut chunks = self.into_stream();
                while let Some(chunk) = chunks.try_next().await? {
                    // A body that is one chunk is not copied.
                    if all.is_empty() && chunk.len() as u64 == len {
                        chunks.expect_end().await?;
                        return Ok(chunk);
                    }
                    all.extend_from_slice(&chunk);
                }
                Ok(all.freeze())
            }
        }
    }

    /// Collects a body of unknown size.
    async fn collect(self, max: u64) -> Result<Bytes> {
        let mut all = BytesMut::new();
        let mut chunks = self.into_stream();
        while let Some(chunk) = chunks.try_next().await? {
            if (all.len() + chunk.len()) as u64 > max {
                let message = format!("the body has more than the {max} bytes that are allowed");
                return Err(in_body(
                    Error::new(ErrorKind::TooLarge, message),
                    &chunks.key,
                    chunks.driver.clone(),
                ));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// Reads the whole body as text.
    ///
    /// # Errors
    /// `Unexpected` if it is not UTF-8; otherwise as [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String> {
        let (key, driver) = (self.meta.key.clone(), self.driver.clone());
        let bytes = self.bytes().await?;
        into_text(bytes).map_err(|error| in_body(error, key.as_str(), driver))
    }

    /// Writes the body to a local file: first to a temporary file in the same directory, which
    /// replaces the old file when it is complete.
    ///
    /// Until then only the owner can read the temporary file. It gets the permission bits of the
    /// file that it replaces, and its owner and group as far as the process may set them. If the
    /// process may not set the group, the group gets the permissions of others. A new file gets the
    /// permissions of any new file (umask, default ACL). A FIFO or a device is written to directly.
    /// A symlink is followed, and one that leads nowhere is replaced.
    ///
    /// If the future is dropped before the body has ended, the old file stays. If it is dropped
    /// later, the old file or the new one is there.
    ///
    /// # Errors
    /// Any error of reading, and the operating system's errors of writing. `InvalidInput` if the
    /// path names a directory.
    pub async fn save_to_file(self, path: impl AsRef<Path>) -> Result<()> {
        atomic_file::write(path.as_ref(), self.into_stream()).await
    }
}

/// Makes the stream of a body in a file read what is in the system's cache on the calling thread.
/// Bodies that are not in a file stay as they are. For files on a local disk.
#[must_use]
pub fn with_cached_read(mut object: Object, read: CachedRead) -> Object {
    object.cached_read = Some(read);
    object
}

async fn read_whole(file: Arc<File>, range: Range<u64>) -> Result<Bytes> {
    let len = usize::try_from(range.end - range.start)
        .map_err(|_| Error::new(ErrorKind::TooLarge, "the object does not fit in memory"))?;
    let all = run_blocking(move || {
        let mut all = BytesMut::zeroed(len);
        let read = read_at_most(&file, &mut all, range.start)?;
        all.truncate(read);
        Ok(all)
    })
    .await?;
    if all.len() < len { Err(ended_early((len - all.len()) as u64)) } else { Ok(all.freeze()) }
}

fn ended_early(missing: u64) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the body ended {missing} bytes early"))
        .with_retryable(true)
}

/// Converts a body to text.
pub(crate) fn into_text(bytes: Bytes) -> Result<String> {
    String::from_utf8(Vec::from(bytes))
        .map_err(|cause| Error::unexpected("the object is not UTF-8 text", cause))
}

/// Adds to an error of reading a body where the body is from.
pub(crate) fn in_body(error: Error, key: &str, driver: Option<Cow<'static, str>>) -> Error {
    let error = error.with_operation(Operation::Open).with_key(key);
    match driver {
        Some(driver) => error.with_driver(driver),
        None => error,
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("meta", &self.meta)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Converts the body, to save it elsewhere as it streams in. Does not include the metadata: see
/// [`Object::into_parts`].
impl From<Object> for Payload {
    fn from(object: Object) -> Self {
        let size = object.meta.known_size().map(|_| object.content_length());
        let payload = match object.body {
            Body::Bytes(bytes) => Self::from_bytes(bytes),
            _ => Self::from_stream(object.into_stream()),
        };
        match size {
            Some(size) => payload.with_size(size),
            None => payload,
        }
    }
}

/// The body of an [`Object`] as an `AsyncRead` and `AsyncBufRead`: see [`Object::into_reader`].
///
/// Its `io::Error`s contain an [`Error`], which `Error::from` returns.
#[derive(Debug)]
pub struct ObjectReader(StreamReader<ObjectStream, Bytes>);

impl AsyncRead for ObjectReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncBufRead for ObjectReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.0).consume(amount);
    }
}

/// The body of an [`Object`] as a stream: see [`Object::into_stream`].
pub struct ObjectStream {
    chunks: BoxStream<'static, Result<Bytes>>,
    /// `None` if the size of the object is not known.
    left: Option<u64>,
    done: bool,
    key: String,
    driver: Option<Cow<'static, str>>,
    _guard: Option<Guard>,
}

impl ObjectStream {
    async fn expect_end(&mut self) -> Result<()> {
        match self.try_next().await? {
            None => Ok(()),
            Some(_) => Err(in_body(too_long(), &self.key, self.driver.clone())),
        }
    }

    fn check(&mut self, chunk: Option<Result<Bytes>>) -> Option<Result<Bytes>> {
        let result = match chunk {
            Some(Ok(chunk)) => {
                let Some(left) = self.left else { return Some(Ok(chunk)) };
                match left.checked_sub(chunk.len() as u64) {
                    Some(left) => {
                        self.left = Some(left);
                        return Some(Ok(chunk));
                    }
                    None => Err(too_long()),
                }
            }
            Some(Err(error)) => Err(error),
            None => match self.left {
                Some(left) if left > 0 => Err(ended_early(left)),
                _ => {
                    self.done = true;
                    return None;
                }
            },
        };
        self.done = true;
        Some(result.map_err(|error| in_body(error, &self.key, self.driver.clone())))
    }
}

fn too_long() -> Error {
    Error::new(ErrorKind::Integrity, "the body is longer than its stated length")
}

impl Stream for ObjectStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        loop {
            match ready!(self.chunks.poll_next_unpin(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                chunk => return Poll::Ready(self.check(chunk)),
            }
        }
    }
}

impl fmt::Debug for ObjectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStream")
            .field("key", &self.key)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
