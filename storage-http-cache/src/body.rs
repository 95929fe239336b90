//! [`Body`]: the bytes of an object that a mirror has begun to send. The body continues at origin if
//! the mirror fails.
//!
//! If the mirror's body breaks off, stalls or ends early, the next bytes come from origin. They are
//! of the same version: the request to origin has the version's strong ETag as its condition. If
//! the ETag may not be the one of origin, the body is read from origin again. Its beginning must
//! have the digest of the bytes that were already returned, and the object must not be known to be
//! another one by its time or its encoding, because the caller has the metadata of the mirror.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use storage_client::ResponseBody;
use storage_core::internal::{escape_invisible, floor_to_second};
use storage_core::{
    ByteRange, Checksum, ChecksumAlgorithm, Checksums, ETag, Error, ErrorKind, Hasher, Key, Object,
    ObjectMeta, OpenOptions, Result,
};

use crate::breaker::Attempt;
use crate::mirror::Mirror;
use crate::shared::Shared;

/// Bodies of at most this many bytes (64 KiB) are read completely before `open` returns, so that
/// origin can replace a body that is wrong.
const MAX_IMMEDIATE_READ: u64 = 64 * 1024;

type Chunks = stream::BoxStream<'static, Result<Bytes>>;

/// The rest of a body, which has not been returned yet.
pub(crate) struct Body {
    context: BodyContext,
    /// Where the body began.
    start: u64,
    /// The positions that remain.
    remaining: Range<u64>,
    source: ByteSource,
    /// The strong ETag by which origin may identify the version.
    etag: Option<ETag>,
    /// The digest of all bytes that were returned, if the ETag may not be the one of origin.
    digest: Option<Hasher>,
    /// The checksum of the whole object, if the memo contains it.
    check: Option<(Hasher, Checksum)>,
}

/// The object of a body.
struct BodyContext {
    cache: Shared,
    mirror: Arc<Mirror>,
    key: Key,
    /// The size of the whole object.
    size: u64,
    last_modified: Option<SystemTime>,
    content_encoding: Option<String>,
}

/// Where the next bytes come from.
enum ByteSource {
    Mirror(ResponseBody, Attempt),
    Origin(Chunks),
    /// The body has ended, or failed.
    Ended,
}

/// The start of a body from a mirror.
pub(crate) struct MirrorBody {
    pub(crate) body: ResponseBody,
    pub(crate) attempt: Attempt,
}

/// Reads a small body and returns its bytes in `Ok`. Returns a large body unread in `Err`.
///
/// # Errors
/// Fails if the body breaks off or stalls, or does not have the checksum that origin returned. The
/// failure is recorded.
pub(crate) async fn read_small(
    mirror: &Mirror,
    meta: &ObjectMeta,
    range: &Range<u64>,
    mut source: MirrorBody,
) -> Result<std::result::Result<Bytes, MirrorBody>> {
    if range.end - range.start > MAX_IMMEDIATE_READ {
        return Ok(Err(source));
    }
    let read = async {
        let mut missing = range.end - range.start;
        // At most `MAX_IMMEDIATE_READ`, even if the mirror states another length.
        let mut all = BytesMut::with_capacity(usize::try_from(missing).unwrap_or(0));
        while missing > 0 {
            let chunk = source.body.next_of(missing).await?;
            missing -= chunk.len() as u64;
            // A body of one chunk needs no copy.
            if all.is_empty() && missing == 0 {
                return Ok(chunk);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    };
    let checked = read.await.and_then(|bytes| {
        let checksum = (*range == (0..meta.size)).then(|| cheapest(&meta.checksums)).flatten();
        match checksum.filter(|expected| Checksum::of(expected.algorithm(), &bytes) != *expected) {
            Some(expected) => Err(wrong_checksum(&expected)),
            None => Ok(bytes),
        }
    });
    match &checked {
        Ok(bytes) => {
            mirror.counts.add_bytes(bytes.len() as u64);
            mirror.record_success(source.attempt);
        }
        Err(error) => {
            mirror.counts.count_broken_body();
            mirror.record_failure(source.attempt, &meta.key, error);
        }
    }
    checked.map(Ok)
}

impl Body {
    /// Creates the body of a range of an object. `etag` is the strong ETag that the mirror sent. If
    /// it may not be the one of origin, set `keep_digest`, so that the bytes can be compared with
    /// those of origin.
    pub(crate) fn new(
        cache: &Shared,
        mirror: &Arc<Mirror>,
        meta: &ObjectMeta,
        range: Range<u64>,
        source: MirrorBody,
        etag: Option<ETag>,
        keep_digest: bool,
    ) -> Self {
        let is_whole = range == (0..meta.size);
        let checksum = is_whole.then(|| cheapest(&meta.checksums)).flatten();
        Self {
            context: BodyContext {
                cache: cache.clone(),
                mirror: Arc::clone(mirror),
                key: meta.key.clone(),
                size: meta.size,
                last_modified: meta.last_modified,
                content_encoding: meta.metadata.content_encoding.clone(),
            },
            start: range.start,
            remaining: range,
            source: ByteSource::Mirror(source.body, source.attempt),
            etag,
            digest: keep_digest.then(|| Hasher::new(ChecksumAlgorithm::Sha256)),
            check: checksum.map(|checksum| (Hasher::new(checksum.algorithm()), checksum)),
        }
    }

    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, |mut body| async move {
            let chunk = body.next().await?;
            Ok(chunk.map(|chunk| (chunk, body)))
        })
    }

    fn missing(&self) -> u64 {
        self.remaining.end - self.remaining.start
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.remaining.is_empty() {
            let missing = self.missing();
            let chunk = match &mut self.source {
                ByteSource::Mirror(body, _) => match body.next_of(missing).await {
                    Ok(chunk) => {
                        self.context.mirror.counts.add_bytes(chunk.len() as u64);
                        chunk
                    }
                    Err(error) => {
                        self.continue_at_origin(error).await?;
                        continue;
                    }
                },
                ByteSource::Origin(chunks) => {
                    let chunk = chunks.try_next().await?.ok_or_else(|| ended_early(missing))?;
                    self.context.cache.counts.add_bytes(chunk.len() as u64);
                    chunk
                }
                ByteSource::Ended => return Err(ended_early(missing)),
            };
            if chunk.is_empty() {
                continue;
            }
            self.remaining.start += chunk.len() as u64;
            let check = self.check.as_mut().map(|(hasher, _)| hasher);
            for hasher in self.digest.iter_mut().chain(check) {
                hasher.update(&chunk);
            }
            // Many readers stop at the stated length, so the last chunk ends the body.
            if self.remaining.is_empty() {
                self.end()?;
            }
            return Ok(Some(chunk));
        }
        Ok(None)
    }

    /// Compares the checksum after the last byte, and records the result for the mirror. If this
    /// fails, the last chunk is not returned.
    fn end(&mut self) -> Result<()> {
        let BodyContext { mirror, key, .. } = &self.context;
        let source = std::mem::replace(&mut self.source, ByteSource::Ended);
        let wrong = self.check.take().filter(|(hasher, sum)| hasher.clone().finish() != *sum);
        let Some((_, expected)) = wrong else {
            if let ByteSource::Mirror(_, attempt) = source {
                mirror.record_success(attempt);
            }
            return Ok(());
        };
        let error = wrong_checksum(&expected);
        if let ByteSource::Mirror(_, attempt) = source {
            mirror.counts.count_broken_body();
            mirror.record_failure(attempt, key, &error);
        }
        mirror.record_stale(key);
        Err(error)
    }

    /// Records the failure of the mirror, and requests the rest from origin.
    async fn continue_at_origin(&mut self, error: Error) -> Result<()> {
        self.context.mirror.counts.count_broken_body();
        let source = std::mem::replace(&mut self.source, ByteSource::Ended);
        if let ByteSource::Mirror(_, attempt) = source {
            self.context.mirror.record_failure(attempt, &self.context.key, &error);
        }
        let rest = self.rest_at_origin().await.map_err(|failed| {
            let context = format!(
                "the mirror failed in the middle of the body ({}), and the body cannot continue at origin",
                error.message()
            );
            failed.with_context(&context)
        })?;
        self.context.mirror.counts.count_resumed_body();
        tracing::info!(
            key = &*escape_invisible(self.context.key.as_str()),
            at = self.remaining.start,
            "a body continues at origin because the mirror failed"
        );
        self.source = ByteSource::Origin(rest);
        Ok(())
    }

    async fn rest_at_origin(&mut self) -> Result<Chunks> {
        if let Some(etag) = self.etag.clone() {
            match self.context.open(self.remaining.clone(), Some(etag.clone())).await {
                Ok(object)
                    if object.meta().etag.as_ref().is_some_and(|other| other.strong_eq(&etag)) =>
                {
                    return Ok(object.into_stream().boxed());
                }
                // The ETag may be one that only the mirror uses.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
                Err(error) => return Err(error),
            }
        }
        match self.digest.take() {
            Some(digest) => self.rest_by_digest(digest.finish()).await,
            None => Err(replaced()),
        }
    }

    /// Reads the body from origin again, and returns the rest if its beginning has this digest.
    async fn rest_by_digest(&mut self, digest: Checksum) -> Result<Chunks> {
        let whole = self.context.open(self.start..self.remaining.end, None).await?;
        if self.context.is_replaced_by(whole.meta()) {
            return Err(replaced());
        }
        let mut chunks = whole.into_stream().boxed();
        let mut hasher = Hasher::new(digest.algorithm());
        let mut repeated = self.remaining.start - self.start;
        while repeated > 0 {
            let mut chunk = chunks.try_next().await?.ok_or_else(replaced)?;
            self.context.cache.counts.add_bytes(chunk.len() as u64);
            let length = usize::try_from(repeated).unwrap_or(usize::MAX).min(chunk.len());
            let known = chunk.split_to(length);
            hasher.update(&known);
            repeated -= known.len() as u64;
            if !chunk.is_empty() {
                chunks = stream::iter([Ok(chunk)]).chain(chunks).boxed();
            }
        }
        if hasher.finish() == digest { Ok(chunks) } else { Err(replaced()) }
    }
}

impl BodyContext {
    /// Returns whether an object of origin is certainly not the one of the mirror.
    fn is_replaced_by(&self, origin: &ObjectMeta) -> bool {
        let is_newer = match (self.last_modified, origin.last_modified) {
            (Some(ours), Some(theirs)) => ours != floor_to_second(theirs),
            _ => false,
        };
        is_newer || self.content_encoding != origin.metadata.content_encoding
    }

    /// Opens a range at origin, which must be of an object of the same size.
    async fn open(&self, range: Range<u64>, if_match: Option<ETag>) -> Result<Object> {
        let mut options = OpenOptions::default();
        (options.range, options.if_match) = (Some(ByteRange::from(range.clone())), if_match);
        let object = match self.cache.origin.open(&self.key, &options).await {
            Ok(object) => object,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::RangeNotSatisfiable) =>
            {
                return Err(replaced());
            }
            Err(error) => return Err(error),
        };
        if object.meta().size == self.size && object.range() == range {
            Ok(object)
        } else {
            Err(replaced())
        }
    }
}

/// Returns the error for a wrong checksum. It is retryable, because the mirror is not used for this
/// key for a while.
fn wrong_checksum(expected: &Checksum) -> Error {
    let message = format!(
        "the bytes from the mirror do not have the checksum {expected}: open the object again"
    );
    Error::new(ErrorKind::Integrity, message).with_retryable(true)
}

fn ended_early(missing: u64) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the body ended {missing} bytes early"))
        .with_retryable(true)
}

/// Returns the error for another version at origin. It is retryable, because another `open` reads
/// the new version from its beginning.
fn replaced() -> Error {
    let message = "origin now has another version, and a body never contains bytes of two \
                   versions: open the object again";
    Error::new(ErrorKind::Integrity, message).with_retryable(true)
}

/// Returns the checksum that is cheapest to compute.
fn cheapest(checksums: &Checksums) -> Option<Checksum> {
    let by_cost = [
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Sha256,
        ChecksumAlgorithm::Md5,
    ];
    by_cost.into_iter().find_map(|algorithm| checksums.get(algorithm)).cloned()
}
