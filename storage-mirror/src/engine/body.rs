//! Reads a version from the store, while it arrives, or from origin.
//!
//! A version can be read to its end after it is evicted or purged. If the store can no longer
//! supply it, the body continues at origin with the same version, or ends with an error.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Object, ObjectMeta, ObjectStream, OpenOptions, Result};

use super::off_thread::off_thread;
use super::origin;
use super::progress::Progress;
use super::shared::Shared;
use super::version::{CachedObject, Version};
use crate::store::{BLOCK, Entry, MAX_IN_MEMORY, Reader};

/// A range that begins this many bytes beyond what has arrived gets its own request to origin, so
/// that seeking in a long recording does not wait for the bytes before it.
const FAR_AHEAD: u64 = 32 << 20;

/// Opens a version.
///
/// # Errors
/// Fails with `NotModified` or `PreconditionFailed` if a condition of the options does not hold,
/// and with `RangeNotSatisfiable` if the object has none of the bytes.
pub(super) async fn open(
    shared: &Arc<Shared>,
    version: &Version,
    options: &OpenOptions,
) -> Result<Object> {
    let (meta, range) = resolve(version, options)?;
    if let Version::Cached(CachedObject { entry, .. }) = version
        && entry.size() <= MAX_IN_MEMORY
    {
        match read_whole(shared, entry).await {
            Some(whole) => return Ok(part_of(meta, range, &whole)),
            None => shared.forget_fetch(&meta.key),
        }
    }
    let body = Body::open(Arc::clone(shared), version.clone(), range.clone()).await;
    Ok(Object::from_stream(meta, range, body.into_stream()))
}

/// Opens a version like [`open`]. Returns `None` if the store cannot supply the first byte.
///
/// # Errors
/// As [`open`].
pub(super) async fn try_open(
    shared: &Arc<Shared>,
    version: &Version,
    options: &OpenOptions,
) -> Result<Option<Object>> {
    let (mut meta, range) = resolve(version, options)?;
    if let Version::Cached(cached) = version {
        let now = shared.options.clock.now();
        meta.response = cached.meta.response().map(|mut response| {
            response.age = cached.meta.age_at(now);
            response
        });
        if cached.entry.size() <= MAX_IN_MEMORY {
            let whole = read_whole(shared, &cached.entry).await;
            if whole.is_none() {
                shared.forget_fetch(&meta.key);
            }
            return Ok(whole.map(|whole| part_of(meta, range, &whole)));
        }
    }
    let mut body = Body::open(Arc::clone(shared), version.clone(), range.clone()).await;
    if let ByteSource::Store(reader) = &body.source
        && !range.is_empty()
    {
        body.ready = read_stored(reader, &range).await;
    }
    let is_lost = match &body.source {
        ByteSource::Store(_) => body.ready.is_none() && !range.is_empty(),
        ByteSource::Lost => matches!(version, Version::Cached(_)),
        _ => false,
    };
    if is_lost {
        shared.forget_fetch(&meta.key);
        return Ok(None);
    }
    Ok(Some(Object::from_stream(meta, range, body.into_stream())))
}

/// Checks the conditions, and resolves the range.
fn resolve(version: &Version, options: &OpenOptions) -> Result<(ObjectMeta, Range<u64>)> {
    let meta = version.meta();
    options.check(meta)?;
    let range = match options.range {
        Some(range) => range.resolve(meta.size)?,
        None => 0..meta.size,
    };
    Ok((meta.clone(), range))
}

/// Returns a part of a small body as an object.
fn part_of(meta: ObjectMeta, range: Range<u64>, whole: &Bytes) -> Object {
    let (start, end) = (index(range.start), index(range.end));
    Object::from_bytes(meta, range, whole.slice(start..end))
}

/// Returns a small body, or `None` if it cannot be read.
async fn read_whole(shared: &Shared, entry: &Arc<Entry>) -> Option<Bytes> {
    let store = &shared.store;
    if let Some(bytes) = store.hot(entry) {
        return Some(bytes);
    }
    if let Ok(Some(bytes)) = store.try_load(entry) {
        return Some(bytes);
    }
    let (store, entry) = (store.clone(), Arc::clone(entry));
    let loaded = off_thread(move || store.load(&entry)).await;
    loaded.inspect_err(|error| tracing::debug!(%error, "an entry cannot be read")).ok()
}

/// Converts a position in a body that fits in memory.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// A body that is being read.
struct Body {
    shared: Arc<Shared>,
    version: Version,
    source: ByteSource,
    /// The next bytes, if they have been read already.
    ready: Option<Bytes>,
    /// The range that has not been returned.
    rest: Range<u64>,
}

/// The source of the next bytes.
enum ByteSource {
    Store(Reader),
    Arriving(Arc<Progress>),
    Origin(ObjectStream),
    /// The store cannot supply them. The next step is a request to origin.
    Lost,
}

impl Body {
    async fn open(shared: Arc<Shared>, version: Version, rest: Range<u64>) -> Self {
        let source = match &version {
            Version::Cached(CachedObject { entry, .. }) => {
                reader(&shared, entry).await.map_or(ByteSource::Lost, ByteSource::Store)
            }
            Version::Arriving(progress) if is_far_ahead(progress, &rest) => ByteSource::Lost,
            Version::Arriving(progress) => ByteSource::Arriving(Arc::clone(progress)),
        };
        Self { shared, version, source, ready: None, rest }
    }

    fn into_stream(self) -> impl futures_util::Stream<Item = Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, |mut body| async move {
            match body.next().await? {
                Some(bytes) => Ok(Some((bytes, body))),
                None => Ok(None),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let bytes = loop {
            if let Some(bytes) = self.ready.take() {
                break bytes;
            }
            let bytes = match &mut self.source {
                ByteSource::Store(reader) => read_stored(reader, &self.rest).await,
                ByteSource::Arriving(progress) => read_arrived(progress, &self.rest).await?,
                ByteSource::Origin(chunks) => match chunks.next().await {
                    Some(chunk) => Some(chunk?),
                    None => return Ok(None),
                },
                ByteSource::Lost => {
                    self.shared.counters.rescued.add(1);
                    if matches!(self.version, Version::Cached(_)) {
                        self.shared.forget_fetch(&self.version.meta().key);
                    }
                    let Range { start, end } = self.rest;
                    let part = origin::part(&self.shared.origin, self.version.meta(), start, end)
                        .await
                        .map_err(changed)?;
                    self.source = ByteSource::Origin(part);
                    continue;
                }
            };
            match bytes {
                Some(bytes) => break bytes,
                None => self.source = ByteSource::Lost,
            }
        };
        self.rest.start += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Converts origin's error for a part of a version that origin has no longer.
fn changed(error: Error) -> Error {
    if !matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::NotFound) {
        return error;
    }
    let message =
        "the object was replaced or deleted at origin while it was being read; open it again";
    Error::new(ErrorKind::Integrity, message).with_retryable(true).with_source(error)
}

/// Returns whether a range gets its own request to origin, which needs a strong ETag.
fn is_far_ahead(progress: &Progress, rest: &Range<u64>) -> bool {
    progress.meta.strong_etag().is_some()
        && rest.start > progress.written().saturating_add(FAR_AHEAD)
}

async fn reader(shared: &Shared, entry: &Arc<Entry>) -> Option<Reader> {
    if let Some(reader) = shared.store.try_reader(entry) {
        return Some(reader);
    }
    let (store, entry) = (shared.store.clone(), Arc::clone(entry));
    let opened = off_thread(move || store.reader(&entry)).await;
    // The entry was evicted, or is broken.
    opened.inspect_err(|error| tracing::debug!(%error, "an entry cannot be opened")).ok()
}

/// Returns the next bytes of a body in the store. Returns `None` if they cannot be read.
async fn read_stored(reader: &Reader, rest: &Range<u64>) -> Option<Bytes> {
    let mut bytes = match reader.try_read_from(rest.start) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let (reader, start) = (reader.clone(), rest.start);
            off_thread(move || reader.read_from(start)).await.inspect_err(log).ok()?
        }
        Err(error) => {
            log(&error);
            return None;
        }
    };
    bytes.truncate(index(rest.end - rest.start));
    Some(bytes)
}

/// Logs an error of reading the store, which logs broken entries itself.
fn log(error: &storage_core::Error) {
    if error.kind() != ErrorKind::Integrity {
        tracing::warn!(%error, "the cache cannot be read");
    }
}

/// Waits for the next bytes of an arriving body. Returns `None` if they will not arrive.
async fn read_arrived(progress: &Progress, rest: &Range<u64>) -> Result<Option<Bytes>> {
    let Some(written) = progress.reaches(rest.start).await? else { return Ok(None) };
    let len = index(written.min(rest.end) - rest.start).min(BLOCK);
    if let Some(bytes) = progress.tail.try_read(rest.start, len) {
        return Ok(Some(bytes));
    }
    let (tail, at) = (progress.tail.clone(), rest.start);
    Ok(off_thread(move || tail.read(at, len)).await.inspect_err(log).ok())
}
