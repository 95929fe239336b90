//! [`Version`]: one version of an object, kept or arriving, as something to read from.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{
    ErrorKind, Key, Object, ObjectMeta, ObjectStream, OpenOptions, ResponseMeta, Result, Storage,
};
use storage_serve::Source;

use super::flight::{self, Progress};
use super::mirror::Mirror;
use super::off_thread::off_thread;
use super::store::{BLOCK, Entry, EntryMeta, MAX_IN_MEMORY, Reader};

/// A range that begins so far beyond what has arrived is fetched by itself, so that whoever seeks
/// in a long recording does not wait for what comes before.
const FAR_AHEAD: u64 = 32 << 20;

/// An object that is kept, and its metadata as of when it was looked up.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) entry: Arc<Entry>,
    pub(crate) meta: Arc<EntryMeta>,
}

/// One version of an object.
#[derive(Debug, Clone)]
pub(crate) enum Version {
    Kept(Kept),
    Arriving(Arc<Progress>),
}

impl Version {
    pub(crate) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Kept(kept) => &kept.meta.object,
            Self::Arriving(progress) => &progress.meta,
        }
    }

    /// Returns how old the version is (`current_age`, RFC 9111, section 4.2.3).
    pub(crate) fn age(&self) -> Duration {
        match self {
            Self::Kept(kept) => kept.meta.age_at(SystemTime::now()),
            Self::Arriving(progress) => progress.age(),
        }
    }

    /// Returns the `Date` of the response that the version came with (RFC 9110, section 6.6.1), or
    /// `None` if that is now.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        match self {
            Self::Kept(kept) => Some(kept.meta.response_date()),
            Self::Arriving(progress) => progress.meta.response.map(|response| response.date),
        }
    }
}

/// Origin, asked for an object that is not kept. Remembers how old the last response was.
#[derive(Debug, Clone)]
pub(crate) struct Passing {
    origin: Storage,
    response: Arc<Mutex<Option<ResponseMeta>>>,
}

impl Passing {
    pub(crate) fn new(origin: &Storage) -> Self {
        Self { origin: origin.clone(), response: Arc::default() }
    }

    /// Returns the age and the date of the last response, or `None` if origin is not an HTTP
    /// server.
    pub(crate) fn response(&self) -> Option<ResponseMeta> {
        *self.response.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, meta: &ObjectMeta) {
        *self.response.lock().unwrap_or_else(PoisonError::into_inner) = meta.response;
    }
}

impl Source for Passing {
    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.origin.stat(key).await?;
        self.note(&meta);
        Ok(meta)
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = Source::open(&self.origin, key, options).await?;
        self.note(object.meta());
        Ok(object)
    }
}

/// A version and what it takes to read it, whatever becomes of it meanwhile: evicted and purged it
/// is read to its end, and where it breaks off, it goes on at origin.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) version: Version,
}

impl Source for Held {
    async fn stat(&self, _key: &Key) -> Result<ObjectMeta> {
        Ok(self.version.meta().clone())
    }

    async fn open(&self, _key: &Key, options: &OpenOptions) -> Result<Object> {
        let meta = self.version.meta();
        options.check(meta)?;
        let range = match options.range {
            Some(range) => range.resolve(meta.size)?,
            None => 0..meta.size,
        };
        let meta = meta.clone();
        if let Version::Kept(Kept { entry, .. }) = &self.version
            && entry.size() <= MAX_IN_MEMORY
            && let Some(whole) = self.whole(entry).await
        {
            let (start, end) = (index(range.start), index(range.end));
            return Ok(Object::from_bytes(meta, range, whole.slice(start..end)));
        }
        let body = Body::open(self.clone(), range.clone()).await;
        Ok(Object::from_stream(meta, range, body.into_stream()))
    }
}

impl Held {
    /// A small body; `None` if it cannot be read.
    async fn whole(&self, entry: &Arc<Entry>) -> Option<Bytes> {
        let store = &self.mirror.store;
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
}

/// Of a body that fits in memory.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// A body under way.
struct Body {
    held: Held,
    from: From,
    /// What is still to be handed out.
    left: Range<u64>,
}

/// Where the next bytes come from.
enum From {
    Kept(Reader),
    Arriving(Arc<Progress>),
    Origin(ObjectStream),
    /// Whoever had them has not, and origin is to be asked.
    Nobody,
}

impl Body {
    async fn open(held: Held, left: Range<u64>) -> Self {
        let from = match &held.version {
            Version::Kept(Kept { entry, .. }) => {
                reader(&held.mirror, entry).await.map_or(From::Nobody, From::Kept)
            }
            Version::Arriving(progress) if is_far_ahead(progress, &left) => From::Nobody,
            Version::Arriving(progress) => From::Arriving(Arc::clone(progress)),
        };
        Self { held, from, left }
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
        if self.left.is_empty() {
            return Ok(None);
        }
        let bytes = loop {
            let bytes = match &mut self.from {
                From::Kept(reader) => block(reader, &self.left).await,
                From::Arriving(progress) => arrived(progress, &self.left).await?,
                From::Origin(chunks) => match chunks.next().await {
                    Some(chunk) => Some(chunk?),
                    None => return Ok(None),
                },
                From::Nobody => {
                    self.held.mirror.counters.rescued.add(1);
                    let Range { start, end } = self.left;
                    let rest = flight::part(
                        &self.held.mirror.origin,
                        self.held.version.meta(),
                        start,
                        end,
                    )
                    .await?;
                    self.from = From::Origin(rest);
                    continue;
                }
            };
            match bytes {
                Some(bytes) => break bytes,
                None => self.from = From::Nobody,
            }
        };
        self.left.start += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Whether a range is better fetched by itself, and can be: without a strong ETag it has to be
/// waited for.
fn is_far_ahead(progress: &Progress, left: &Range<u64>) -> bool {
    progress.meta.strong_etag().is_some()
        && left.start > progress.written().saturating_add(FAR_AHEAD)
}

async fn reader(mirror: &Mirror, entry: &Arc<Entry>) -> Option<Reader> {
    if let Some(reader) = mirror.store.try_reader(entry) {
        return Some(reader);
    }
    let (store, entry) = (mirror.store.clone(), Arc::clone(entry));
    let opened = off_thread(move || store.reader(&entry)).await;
    // It was evicted, or is broken.
    opened.inspect_err(|error| tracing::debug!(%error, "an entry cannot be opened")).ok()
}

/// The next bytes of a kept body, of one block. `None` if it cannot be read.
async fn block(reader: &Reader, left: &Range<u64>) -> Option<Bytes> {
    let number = left.start / BLOCK as u64;
    let block = match reader.try_read_block(number) {
        Ok(Some(block)) => block,
        Ok(None) => {
            let reader = reader.clone();
            off_thread(move || reader.read_block(number)).await.inspect_err(log).ok()?
        }
        Err(error) => {
            log(&error);
            return None;
        }
    };
    let begins = number * BLOCK as u64;
    let (start, end) = (index(left.start - begins), index(left.end - begins).min(block.len()));
    Some(block.slice(start..end))
}

/// The store itself tells of what is broken.
fn log(error: &storage_core::Error) {
    if error.kind() != ErrorKind::Integrity {
        tracing::warn!(%error, "the cache cannot be read");
    }
}

/// The next bytes of an arriving body, once they are there. `None` if they will not come.
async fn arrived(progress: &Progress, left: &Range<u64>) -> Result<Option<Bytes>> {
    let Some(written) = progress.reaches(left.start).await? else { return Ok(None) };
    let len = index(written.min(left.end) - left.start).min(BLOCK);
    if let Some(bytes) = progress.tail.try_read(left.start, len) {
        return Ok(Some(bytes));
    }
    let (tail, at) = (progress.tail.clone(), left.start);
    Ok(off_thread(move || tail.read(at, len)).await.inspect_err(log).ok())
}
