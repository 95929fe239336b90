//! [`Observed`]: spans, events and metrics for every operation.

mod multipart;

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tracing::{Instrument, Span};

use crate::driver::Driver;
use crate::entry::{Entry, EntryStream};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::forward;
use crate::inspect::BodyEvent;
use crate::key::{Key, Prefix};
use crate::layers::recorder::{Counter, Recorder};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::object::Object;
use crate::options::{
    CopyOptions, ListOptions, OpenOptions, RenameOptions, SaveOptions, UrlOptions,
};
use crate::payload::Payload;
use crate::text::escape_invisible;

/// Reports every operation except the listings of parts and of unfinished uploads: a span and an
/// event through `tracing`, and counters and a histogram through `metrics` (feature `metrics` of
/// this crate).
///
/// # Spans and events
///
/// Each operation is a span `storage` at debug level around all that the driver does. Its fields
/// are `operation`, `driver`, `key` (for `list` the prefix) and, at the end, `result`. It ends with
/// an event:
///
/// - At debug level, with `result` and `elapsed`: success, and failures that the caller causes and
///   handles (`NotFound`, `AlreadyExists`, `PreconditionFailed`, `InvalidKey` and the like).
/// - At warn level, with all these fields, the `error` and its `cause`: failures that need the
///   attention of an operator (`Unexpected`, `Timeout`, `RateLimited`, `StorageFull`, `Integrity`,
///   `PermissionDenied` and the like). A save that failed because of the caller's own stream is
///   logged at debug level.
///
/// Spans and events contain neither bytes of objects nor links.
///
/// # Metrics
///
/// | name | kind | labels |
/// |---|---|---|
/// | `storage_operations_total` | counter | `driver`, `operation`, `result` |
/// | `storage_operation_seconds` | histogram | `driver`, `operation` |
/// | `storage_bytes_total` | counter | `driver`, `direction` (`in`: saved, `out`: read) |
///
/// `result` is `ok`, the name of an [`ErrorKind`], or `cancelled` if the caller dropped the future
/// before it completed. Keys are not labels, because there are too many of them.
///
/// # What counts as one operation
///
/// - `delete_many` is one operation `delete`. It has the fields `keys` and `failed` (both numbers)
///   in place of `key`. Its result is `ok` if no key failed, else the kind of one of the errors.
/// - A listing is one operation from its first poll until its end, its last error, or until it is
///   dropped, which counts as `ok`. If it continues after errors that need attention (an unreadable
///   directory), the first of them is an event with its key, and its kind is the result.
/// - An `open` ends when the object is returned. A body that fails later is a separate event.
/// - Chunks that stream are counted as they pass, also those of a save that fails. Bytes in memory
///   or in a file are counted when they are saved or opened, even if they are not all read.
///
/// A recorder that is installed later receives the metrics, but not their descriptions: see
/// [`describe`](Self::describe).
///
/// ```
/// use storage_core::{Memory, layers::Observed};
///
/// let storage = Memory::storage().layer(Observed::new);
/// ```
#[derive(Debug, Clone)]
pub struct Observed {
    inner: Arc<dyn Driver>,
    driver: Recorder,
}

impl Observed {
    /// Wraps a driver, and describes the metrics to the recorder.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>) -> Self {
        Self::describe();
        let driver = Recorder::new(inner.info().name);
        Self { inner, driver }
    }

    /// Describes the metrics to the `metrics` recorder. Call it in an application that installs its
    /// recorder after it has opened its storages.
    pub fn describe() {
        Recorder::describe();
    }

    async fn observe<T>(
        &self,
        operation: Operation,
        key: &str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let observed = Call::begin(&self.driver, operation, key);
        let result = call.instrument(observed.span.clone()).await;
        let error = result.as_ref().err();
        observed.end(key, error, error.is_some_and(needs_attention));
        result
    }

    /// Observes a call that sends a payload, and counts its bytes.
    async fn observe_sending<T, F>(
        &self,
        operation: Operation,
        key: &Key,
        payload: Payload,
        call: impl FnOnce(Payload) -> F,
        size: impl FnOnce(&T) -> u64,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let bytes = self.bytes("in");
        let source_failed = Arc::new(AtomicBool::new(false));
        let streams = !payload.is_replayable();
        let payload = payload.map_stream(|chunks| {
            observed_payload(chunks, bytes.clone(), Arc::clone(&source_failed))
        });
        let observed = Call::begin(&self.driver, operation, key.as_str());
        let sent = call(payload).instrument(observed.span.clone()).await;
        let error = sent.as_ref().err();
        // A failure of the caller's own stream needs no attention: many web clients disconnect.
        let attention =
            error.is_some_and(needs_attention) && !source_failed.load(Ordering::Relaxed);
        observed.end(key.as_str(), error, attention);
        if let (Ok(sent), false) = (&sent, streams) {
            bytes.increment(size(sent));
        }
        sent
    }

    fn bytes(&self, direction: &'static str) -> Counter {
        self.driver.bytes(direction)
    }
}

/// A running operation.
struct Call {
    driver: Recorder,
    operation: Operation,
    started: Instant,
    span: Span,
    ended: bool,
}

impl Call {
    fn begin(driver: &Recorder, operation: Operation, key: &str) -> Self {
        let span = tracing::debug_span!(
            "storage",
            operation = operation.as_str(),
            driver = driver.name(),
            key = &*escape_invisible(key),
            result = tracing::field::Empty
        );
        Self::of(driver, operation, span)
    }

    fn begin_many(driver: &Recorder, keys: usize) -> Self {
        let operation = Operation::Delete;
        let span = tracing::debug_span!(
            "storage",
            operation = operation.as_str(),
            driver = driver.name(),
            keys,
            failed = tracing::field::Empty,
            result = tracing::field::Empty
        );
        Self::of(driver, operation, span)
    }

    fn of(driver: &Recorder, operation: Operation, span: Span) -> Self {
        Self { driver: driver.clone(), operation, started: Instant::now(), span, ended: false }
    }

    fn end(mut self, key: &str, error: Option<&Error>, attention: bool) {
        self.ended = true;
        let result = error.map_or("ok", |error| error.kind().as_str());
        let elapsed = self.count(result);
        self.span.record("result", result);
        self.span.in_scope(|| match error {
            Some(error) if attention => {
                warn(error, self.operation, self.driver.name(), key, elapsed);
            }
            _ => tracing::debug!(result, ?elapsed),
        });
    }

    /// Ends an operation whose failure has been logged.
    fn end_as(mut self, kind: ErrorKind) {
        self.ended = true;
        let (result, elapsed) = (kind.as_str(), self.count(kind.as_str()));
        self.span.record("result", result);
        self.span.in_scope(|| tracing::debug!(result, ?elapsed));
    }

    fn count(&self, result: &'static str) -> Duration {
        let elapsed = self.started.elapsed();
        self.driver.record(self.operation, result, elapsed);
        elapsed
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            let (result, elapsed) = ("cancelled", self.count("cancelled"));
            self.span.record("result", result);
            self.span.in_scope(|| tracing::debug!(result, ?elapsed));
        }
    }
}

/// Returns whether an operator should be warned. A caller handles the other kinds itself.
fn needs_attention(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::InvalidConfig
        | ErrorKind::PermissionDenied
        | ErrorKind::Unauthenticated
        | ErrorKind::RateLimited
        | ErrorKind::Timeout
        | ErrorKind::StorageFull
        | ErrorKind::Integrity
        | ErrorKind::Unexpected => true,
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Conflict
        | ErrorKind::PreconditionFailed
        | ErrorKind::NotModified
        | ErrorKind::RangeNotSatisfiable
        | ErrorKind::InvalidKey
        | ErrorKind::InvalidInput
        | ErrorKind::TooLarge
        | ErrorKind::Unsupported => false,
    }
}

/// Sends a warning with all fields, because its span may be disabled where warnings are not.
fn warn(error: &Error, operation: Operation, driver: &str, key: &str, elapsed: Duration) {
    // As text, which subscribers escape: the cause may quote untrusted input.
    let cause = error.source().map(ToString::to_string);
    tracing::warn!(
        operation = operation.as_str(),
        driver,
        key = &*escape_invisible(key),
        result = error.kind().as_str(),
        ?elapsed,
        error = error.message(),
        cause,
    );
}

/// Counts the bytes of a payload, and records whether its stream fails.
fn observed_payload(
    chunks: BoxStream<'static, Result<Bytes>>,
    bytes: Counter,
    failed: Arc<AtomicBool>,
) -> BoxStream<'static, Result<Bytes>> {
    let seen = chunks.inspect(move |chunk| match chunk {
        Ok(chunk) => bytes.increment(chunk.len() as u64),
        Err(_) => failed.store(true, Ordering::Relaxed),
    });
    seen.boxed()
}

/// Logs that the body of an open object failed.
fn body_failed(error: &Error, driver: &str, key: &Key, elapsed: Duration) {
    if needs_attention(error) {
        return warn(error, Operation::Open, driver, key.as_str(), elapsed);
    }
    tracing::debug!(
        key = &*escape_invisible(key.as_str()),
        result = error.kind().as_str(),
        "the body failed"
    );
}

/// The entries of a listing, with the operation that they belong to.
struct Listing {
    entries: EntryStream,
    driver: Recorder,
    prefix: Prefix,
    /// From the first poll until the end.
    call: Option<Call>,
    /// The kind of the first error that needs attention and after which the listing continued.
    first: Option<ErrorKind>,
    done: bool,
}

impl Listing {
    fn end(&mut self, error: Option<&Error>) {
        self.done = true;
        if let Some(call) = self.call.take() {
            match (error, self.first) {
                // The event has been sent, so only the result is recorded.
                (None, Some(kind)) => call.end_as(kind),
                _ => call.end(self.prefix.as_str(), error, error.is_some_and(needs_attention)),
            }
        }
    }

    /// Records an error after which the listing continues. Sends at most one event per listing.
    fn record(&mut self, error: &Error) {
        let Some(call) =
            self.call.as_ref().filter(|_| self.first.is_none() && needs_attention(error))
        else {
            return;
        };
        self.first = Some(error.kind());
        let key = error.key().unwrap_or(self.prefix.as_str());
        call.span.in_scope(|| {
            warn(error, Operation::List, self.driver.name(), key, call.started.elapsed());
        });
    }
}

impl Stream for Listing {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        let call = this.call.get_or_insert_with(|| {
            Call::begin(&this.driver, Operation::List, this.prefix.as_str())
        });
        let entry = std::task::ready!(call.span.in_scope(|| this.entries.poll_next_unpin(cx)));
        match &entry {
            None => this.end(None),
            Some(Err(error)) if error.listing_continues() => this.record(error),
            Some(Err(error)) => this.end(Some(error)),
            Some(Ok(_)) => {}
        }
        Poll::Ready(entry)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.end(None);
    }
}

#[async_trait]
impl Driver for Observed {
    forward! { to self.inner: info, innermost, link_verifier }

    fn multipart(&self) -> Result<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let save = |payload| self.inner.save(key, payload, options);
        self.observe_sending(Operation::Save, key, payload, save, |meta| meta.size).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object =
            self.observe(Operation::Open, key.as_str(), self.inner.open(key, options)).await?;
        let (bytes, driver, key) = (self.bytes("out"), self.driver.clone(), key.clone());
        let opened = Instant::now();
        Ok(object.inspect(move |event| match event {
            BodyEvent::Ready(length) => bytes.increment(length),
            BodyEvent::Chunk(chunk) => bytes.increment(chunk.len() as u64),
            BodyEvent::Failed(error) => body_failed(error, driver.name(), &key, opened.elapsed()),
            BodyEvent::Ended => {}
        }))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.observe(Operation::Stat, key.as_str(), self.inner.stat(key)).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.observe(Operation::Exists, key.as_str(), self.inner.exists(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.observe(Operation::Delete, key.as_str(), self.inner.delete(key)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let call = Call::begin_many(&self.driver, keys.len());
        let results = self.inner.delete_many(keys).instrument(call.span.clone()).await;
        let failed: Vec<_> = keys
            .iter()
            .zip(&results)
            .filter_map(|(key, result)| Some((key, result.as_ref().err()?)))
            .collect();
        call.span.record("failed", failed.len());
        // One error is logged for all, preferably one that needs attention.
        let logged = failed.iter().find(|(_, error)| needs_attention(error)).or(failed.first());
        match logged {
            Some((key, error)) => call.end(key.as_str(), Some(error), needs_attention(error)),
            None => call.end("", None, false),
        }
        results
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.observe(Operation::Delete, marker.as_str(), self.inner.delete_folder_marker(marker))
            .await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let entries = self.inner.list(prefix, options);
        let (driver, prefix) = (self.driver.clone(), prefix.clone());
        Listing { entries, driver, prefix, call: None, first: None, done: false }.boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.observe(Operation::Copy, from.as_str(), self.inner.copy(from, to, options)).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        self.observe(Operation::Rename, from.as_str(), self.inner.rename(from, to, options)).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.observe(Operation::Url, key.as_str(), self.inner.url(key, options)).await
    }
}
