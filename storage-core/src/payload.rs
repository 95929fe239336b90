//! [`Payload`]: the bytes of a save, and the checks that they must pass.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::blocking_pool::run_blocking;
use crate::checksum::{Checksum, ChecksumAlgorithm, Checksums};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::file_stream::{FileStream, read_at_most};
use crate::hashers::Hashers;

/// The size of one read of an `AsyncRead`, in bytes.
const READER_CHUNK: usize = 64 * 1024;

/// The size of one chunk of a payload in memory, in bytes.
const SLICE: usize = 1024 * 1024;

/// The bytes to save: in memory, in a file, or from a stream whose size may be unknown.
///
/// A payload contains its checks: the declared size, a maximum size, expected checksums.
/// [`into_stream`](Self::into_stream) runs them while the bytes pass and ends with an error if one
/// fails. A driver aborts its save on such an error, so it never stores wrong bytes.
///
/// ```
/// use storage_core::Payload;
///
/// let payload = Payload::from("hello");
/// assert_eq!(payload.size(), Some(5));
/// assert!(payload.is_replayable());
/// ```
pub struct Payload {
    body: Body,
    size: Option<u64>,
    checks: Checks,
}

enum Body {
    Bytes(Bytes),
    File(Arc<File>),
    Stream(BoxStream<'static, Result<Bytes>>),
}

#[derive(Clone, Default)]
struct Checks {
    max_size: Option<u64>,
    expected: Vec<Checksum>,
    computed: Vec<ChecksumAlgorithm>,
}

impl Payload {
    fn new(body: Body, size: Option<u64>) -> Self {
        Self { body, size, checks: Checks::default() }
    }

    /// Creates a payload from bytes in memory, without copying them.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        Self::new(Body::Bytes(bytes), Some(size))
    }

    /// Creates a payload from a stream of chunks. Its size is unknown unless
    /// [`with_size`](Self::with_size) declares it. An error of the stream fails the save, and
    /// nothing of the payload is left. An [`Error`] is returned unchanged, any other one as the
    /// cause of an `Unexpected`.
    ///
    /// The end of the stream is the end of the object. A channel whose sender dies ends as one
    /// whose sender is finished, so a part of the object would be saved as a whole. Declare the
    /// size, or use [`Payload::pipe`] or [`Storage::writer`](crate::Storage::writer), which
    /// distinguish the two.
    pub fn from_stream<S, B, E>(chunks: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<BoxError>,
    {
        let chunks =
            chunks.map(|chunk| chunk.map(Into::into).map_err(|cause| source_failed(cause.into())));
        Self::new(Body::Stream(chunks.boxed()), None)
    }

    /// Creates a payload from all bytes of a reader. Its size is unknown unless
    /// [`with_size`](Self::with_size) declares it.
    ///
    /// The end of the reader is the end of the object. A pipe (`tokio::io::duplex`, the output of a
    /// process) whose writer dies ends as one whose writer is finished, so a part of the object
    /// would be saved as a whole. Declare the size, or use [`Payload::pipe`] or
    /// [`Storage::writer`](crate::Storage::writer), which distinguish the two.
    pub fn from_reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::from_stream(ReaderStream::with_capacity(reader, READER_CHUNK))
    }

    /// Opens a regular file, which is read while it is saved. The payload can be replayed.
    ///
    /// If the file becomes shorter in between, the save fails with `Integrity`. Bytes that are
    /// appended are not saved.
    ///
    /// # Errors
    /// The error of the operating system; `InvalidInput` for a directory or a special file.
    pub async fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let (file, size) = run_blocking(move || {
            // Checked before it is opened: opening a FIFO blocks until another process writes to
            // it.
            if !std::fs::metadata(&path)?.is_file() {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!("{} is not a regular file", path.display()),
                ));
            }
            let file = File::open(&path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        })
        .await?;
        Ok(Self::new(Body::File(Arc::new(file)), Some(size)))
    }

    /// Returns the checks of this payload for the bytes of another one.
    pub(crate) fn with_body_of(self, other: Self) -> Self {
        Self { body: other.body, size: other.size, checks: self.checks }
    }

    /// Declares the size in bytes. A stream that yields more or fewer bytes fails the save with
    /// `Integrity`.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Sets the maximum size in bytes. A larger payload fails the save with `TooLarge`, as soon as
    /// its size is known.
    #[must_use]
    pub fn with_max_size(mut self, max_size: u64) -> Self {
        self.checks.max_size = Some(max_size);
        self
    }

    /// Requires a checksum. A payload with another one fails the save with `Integrity`. Needs the
    /// feature `checksums`; without it, the save fails with `Unsupported`.
    #[must_use]
    pub fn with_expected_checksum(mut self, checksum: Checksum) -> Self {
        self.checks.expected.push(checksum);
        self
    }

    /// Adds a checksum to compute and keep with the object. Needs the feature `checksums`; without
    /// it, the save fails with `Unsupported`.
    #[must_use]
    pub fn with_computed_checksum(mut self, algorithm: ChecksumAlgorithm) -> Self {
        if !self.checks.computed.contains(&algorithm) {
            self.checks.computed.push(algorithm);
        }
        self
    }

    /// Returns the size, if it is known before the bytes have been read.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns the checksums that the bytes must have, for a driver that sends them before the
    /// bytes. [`into_stream`](Self::into_stream) checks them in any case.
    #[must_use]
    pub fn expected_checksums(&self) -> &[Checksum] {
        &self.checks.expected
    }

    /// Returns the algorithms of the checksums to compute beside the expected ones, for a driver
    /// that announces them before the bytes. [`PayloadStream::checksums`] returns the values after
    /// the bytes.
    #[must_use]
    pub fn computed_checksums(&self) -> &[ChecksumAlgorithm] {
        &self.checks.computed
    }

    /// Returns whether [`replay`](Self::replay) works: for bytes in memory and files on disk.
    #[must_use]
    pub fn is_replayable(&self) -> bool {
        !matches!(self.body, Body::Stream(_))
    }

    /// Returns the same payload for a second attempt; `None` for a stream, which can be read only
    /// once.
    #[must_use]
    pub fn replay(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::File(file) => Body::File(Arc::clone(file)),
            Body::Stream(_) => return None,
        };
        Some(Self { body, size: self.size, checks: self.checks.clone() })
    }

    /// Wraps the chunks of a stream, for a layer that observes or changes them. The checks run
    /// after the wrapper.
    ///
    /// Bytes in memory and files are left as they are, because reading them cannot stall.
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

    /// Returns the first bytes, at most `n`, which stay part of the payload.
    ///
    /// Returns fewer if the payload ends or its stream fails. The save then fails with that error
    /// after the bytes before it. Stops reading a stream that is larger than
    /// [`with_max_size`](Self::with_max_size) allows.
    ///
    /// # Errors
    /// The error of reading a file.
    pub async fn peek(&mut self, n: usize) -> Result<Bytes> {
        match &mut self.body {
            Body::Bytes(bytes) => Ok(bytes.slice(..bytes.len().min(n))),
            Body::File(file) => {
                let file = Arc::clone(file);
                let read = run_blocking(move || {
                    let mut start = BytesMut::zeroed(n);
                    let read = read_at_most(&file, &mut start, 0)?;
                    start.truncate(read);
                    Ok(start.freeze())
                });
                read.await
            }
            Body::Stream(chunks) => {
                let mut start = BytesMut::new();
                let mut taken = Vec::new();
                let max_size = self.checks.max_size.and_then(|max| usize::try_from(max).ok());
                let enough = n.min(max_size.unwrap_or(n).saturating_add(1));
                while start.len() < enough
                    && let Some(chunk) = chunks.next().await
                {
                    let failed = chunk.is_err();
                    if let Ok(chunk) = &chunk {
                        start.extend_from_slice(&chunk[..chunk.len().min(n - start.len())]);
                    }
                    taken.push(chunk);
                    if failed {
                        break;
                    }
                }
                let rest = std::mem::replace(chunks, stream::empty().boxed());
                *chunks = stream::iter(taken).chain(rest).boxed();
                Ok(start.freeze())
            }
        }
    }

    /// Converts the payload to a stream of chunks that runs the checks: see [`PayloadStream`].
    #[must_use]
    pub fn into_stream(self) -> PayloadStream {
        let check = RunningChecks::new(self.size, self.checks);
        let chunks = match self.body {
            Body::Bytes(bytes) => slices(bytes).boxed(),
            Body::File(file) => FileStream::new(file, 0..self.size.unwrap_or(u64::MAX), None)
                .map_err(Error::from)
                .boxed(),
            Body::Stream(chunks) => chunks,
        };
        PayloadStream { chunks, check, outcome: None }
    }

    /// Returns the bytes if they are in memory already, for a driver that stores small objects in
    /// one step.
    ///
    /// # Errors
    /// Returns the payload if its bytes are not in memory.
    pub fn into_memory(self) -> Result<InMemory, Self> {
        match self.body {
            Body::Bytes(bytes) => {
                Ok(InMemory { bytes, check: RunningChecks::new(self.size, self.checks) })
            }
            body => Err(Self { body, ..self }),
        }
    }

    /// Reads all bytes into memory, regardless of their number, unless
    /// [`with_max_size`](Self::with_max_size) limits it. Returns them with their checksums.
    ///
    /// # Errors
    /// The error of the stream or of a check.
    pub async fn into_bytes(self) -> Result<(Bytes, Checksums)> {
        let mut chunks = match self.into_memory() {
            Ok(memory) => return memory.checked(),
            Err(payload) => payload.into_stream(),
        };
        let mut all = BytesMut::new();
        while let Some(chunk) = chunks.try_next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok((all.freeze(), chunks.checksums().cloned().unwrap_or_default()))
    }
}

/// Splits bytes into pieces that are hashed quickly, so that a large payload does not block the
/// runtime.
fn slices(mut bytes: Bytes) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::poll_fn(move |_| {
        let next = bytes.split_to(bytes.len().min(SLICE));
        Poll::Ready((!next.is_empty()).then_some(Ok(next)))
    })
}

fn source_failed(cause: BoxError) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => *error,
        Err(cause) => Error::unexpected("the stream of bytes to save failed", cause),
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = match self.body {
            Body::Bytes(_) => "bytes",
            Body::File(_) => "file",
            Body::Stream(_) => "stream",
        };
        f.debug_struct("Payload")
            .field("from", &body)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

macro_rules! payload_from {
    ($($source:ty),*) => {
        $(impl From<$source> for Payload {
            fn from(bytes: $source) -> Self {
                Self::from_bytes(bytes)
            }
        })*
    };
}

payload_from!(Bytes, Vec<u8>, String, &'static str, &'static [u8]);

impl<const N: usize> From<&'static [u8; N]> for Payload {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::from_bytes(bytes.as_slice())
    }
}

/// Bytes in memory whose checks have not run yet.
#[derive(Debug)]
pub struct InMemory {
    bytes: Bytes,
    check: RunningChecks,
}

impl InMemory {
    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Runs the checks and returns the bytes with their checksums. Hashing takes time: for large
    /// payloads call it where blocking is allowed.
    ///
    /// # Errors
    /// `TooLarge` or `Integrity`.
    pub fn checked(mut self) -> Result<(Bytes, Checksums)> {
        self.check.update(&self.bytes)?;
        let checksums = self.check.finish()?;
        Ok((self.bytes, checksums))
    }
}

/// The non-empty chunks of a payload, which are checked as they pass.
///
/// After the last chunk it yields `None` if all checks passed, else one error (`Integrity`,
/// `TooLarge`). A driver must make nothing visible before it has received the `None`.
pub struct PayloadStream {
    chunks: BoxStream<'static, Result<Bytes>>,
    check: RunningChecks,
    /// Set at the end; nothing is polled after it.
    outcome: Option<Checksums>,
}

impl PayloadStream {
    /// Returns the requested checksums after the stream has ended without an error; `None` before.
    #[must_use]
    pub fn checksums(&self) -> Option<&Checksums> {
        self.outcome.as_ref()
    }

    fn end(&mut self) -> Option<Result<Bytes>> {
        match self.check.finish() {
            Ok(checksums) => {
                self.outcome = Some(checksums);
                None
            }
            Err(error) => Some(self.fail(error)),
        }
    }

    fn fail(&mut self, error: Error) -> Result<Bytes> {
        // A driver that polls on after an error must not treat the rest as the whole payload.
        self.chunks = stream::repeat_with(|| {
            Err(Error::new(ErrorKind::Integrity, "the payload failed before"))
        })
        .boxed();
        Err(error)
    }
}

impl Stream for PayloadStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.outcome.is_some() {
            return Poll::Ready(None);
        }
        loop {
            let item = match std::task::ready!(this.chunks.poll_next_unpin(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => Some(match this.check.update(&chunk) {
                    Ok(()) => Ok(chunk),
                    Err(error) => this.fail(error),
                }),
                Some(Err(error)) => Some(this.fail(error)),
                None => this.end(),
            };
            return Poll::Ready(item);
        }
    }
}

impl fmt::Debug for PayloadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadStream").field("check", &self.check).finish_non_exhaustive()
    }
}

/// Counts and hashes the bytes that pass, and compares at the end.
#[derive(Debug)]
struct RunningChecks {
    seen: u64,
    size: Option<u64>,
    max_size: Option<u64>,
    expected: Vec<Checksum>,
    hashers: Hashers,
}

impl RunningChecks {
    fn new(size: Option<u64>, checks: Checks) -> Self {
        let mut algorithms: Vec<_> =
            checks.expected.iter().map(Checksum::algorithm).chain(checks.computed).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let hashers = Hashers::new(algorithms);
        Self { seen: 0, size, max_size: checks.max_size, expected: checks.expected, hashers }
    }

    fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.seen += chunk.len() as u64;
        if let Some(max) = self.max_size.filter(|&max| self.seen.max(self.size.unwrap_or(0)) > max)
        {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("the payload has more than the {max} bytes allowed"),
            ));
        }
        if let Some(size) = self.size.filter(|&size| self.seen > size) {
            return Err(Error::new(
                ErrorKind::Integrity,
                format!("the payload has more than the {size} bytes declared"),
            ));
        }
        self.hashers.update(chunk)
    }

    fn finish(&mut self) -> Result<Checksums> {
        if let Some(size) = self.size.filter(|&size| size != self.seen) {
            let message = format!("the payload ended after {} of {size} bytes", self.seen);
            return Err(Error::new(ErrorKind::Integrity, message));
        }
        let found = self.hashers.finish()?;
        for expected in &self.expected {
            if let Some(found) = found.get(expected.algorithm()).filter(|found| *found != expected)
            {
                return Err(Error::new(
                    ErrorKind::Integrity,
                    format!("the bytes have {found}, not {expected} as expected"),
                ));
            }
        }
        Ok(found)
    }
}
