//! [`Body`]: the bytes of an object that a mirror has begun to send, whatever becomes of the mirror.
//!
//! Where the mirror's body breaks off, stalls or ends early, origin goes on at the next byte. Two
//! versions are never spliced: origin is asked for the version by its strong ETag; where the ETag
//! is not origin's own, origin's bytes have to have the digest of those that were handed on
//! already.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use storage_client::ResponseBody;
use storage_core::{
    ByteRange, Checksum, ChecksumAlgorithm, Checksums, ETag, Error, ErrorKind, Hasher, Key, Object,
    ObjectMeta, OpenOptions, Result,
};

use crate::breaker::Attempt;
use crate::cache::Shared;
use crate::mirror::Mirror;

/// Answers of at most so many bytes are read whole before anything is handed on, so that whatever
/// is wrong with them is made good by origin, unseen.
const SMALL: u64 = 64 * 1024;

type Chunks = stream::BoxStream<'static, Result<Bytes>>;

/// What of a body has not been handed on.
pub(crate) struct Body {
    of: Of,
    /// Where the body began.
    start: u64,
    /// The positions of what is left.
    left: Range<u64>,
    source: Source,
    /// The version by which origin may know it.
    etag: Option<ETag>,
    /// Of all that was handed on, where the ETag may not be origin's.
    digest: Option<Hasher>,
    /// Of the whole object, if origin has told its checksum.
    check: Option<(Hasher, Checksum)>,
}

/// Whose body it is.
struct Of {
    cache: Arc<Shared>,
    mirror: Arc<Mirror>,
    key: Key,
    /// Of the whole object.
    size: u64,
}

/// Where the next bytes come from.
enum Source {
    Mirror(ResponseBody, Attempt),
    Origin(Chunks),
    /// Nowhere: it has ended, well or not.
    Ended,
}

/// Reads a small body; gives a large one back.
///
/// # Errors
/// It breaks off or stalls, or is not what origin has told. The mirror has been told off.
pub(crate) async fn read_small(
    mirror: &Mirror,
    meta: &ObjectMeta,
    range: &Range<u64>,
    mut incoming: ResponseBody,
    attempt: Attempt,
) -> Result<std::result::Result<Bytes, (ResponseBody, Attempt)>> {
    if range.end - range.start > SMALL {
        return Ok(Err((incoming, attempt)));
    }
    let read = async {
        let mut left = range.clone();
        // At most `SMALL`, whatever the mirror says.
        let mut all = BytesMut::with_capacity(usize::try_from(left.end - left.start).unwrap_or(0));
        while !left.is_empty() {
            let chunk = in_time(incoming.next().await, &left)?;
            left.start += chunk.len() as u64;
            // Mostly one chunk, which is handed on as it is.
            if all.is_empty() && left.is_empty() {
                return Ok(chunk);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    };
    let checked = read.await.and_then(|bytes| {
        let checksum = (*range == (0..meta.size)).then(|| cheapest(&meta.checksums)).flatten();
        match checksum.filter(|expected| Checksum::of(expected.algorithm(), &bytes) != *expected) {
            Some(expected) => Err(wrong_bytes(&expected)),
            None => Ok(bytes),
        }
    });
    match &checked {
        Ok(bytes) => {
            mirror.counts.bytes(bytes.len() as u64);
            mirror.succeeded(attempt);
        }
        Err(error) => {
            mirror.counts.broken();
            mirror.failed(attempt, &meta.key, error);
        }
    }
    checked.map(Ok)
}

impl Body {
    /// `etag` is the strong one that the mirror told; `keep_digest` if it may not be origin's.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is another part of one answer; its only caller has them apart"
    )]
    pub(crate) fn new(
        cache: &Arc<Shared>,
        mirror: &Arc<Mirror>,
        meta: &ObjectMeta,
        range: Range<u64>,
        incoming: ResponseBody,
        attempt: Attempt,
        etag: Option<ETag>,
        keep_digest: bool,
    ) -> Self {
        let is_whole = range == (0..meta.size);
        let checksum = is_whole.then(|| cheapest(&meta.checksums)).flatten();
        Self {
            of: Of {
                cache: Arc::clone(cache),
                mirror: Arc::clone(mirror),
                key: meta.key.clone(),
                size: meta.size,
            },
            start: range.start,
            left: range,
            source: Source::Mirror(incoming, attempt),
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

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.left.is_empty() {
            let chunk = match &mut self.source {
                Source::Mirror(incoming, _) => match in_time(incoming.next().await, &self.left) {
                    Ok(chunk) => {
                        self.of.mirror.counts.bytes(chunk.len() as u64);
                        chunk
                    }
                    Err(error) => {
                        self.go_on_after(error).await?;
                        continue;
                    }
                },
                Source::Origin(chunks) => {
                    let chunk = chunks.try_next().await?.ok_or_else(|| ended_early(&self.left))?;
                    self.of.cache.counts.bytes(chunk.len() as u64);
                    chunk
                }
                Source::Ended => return Err(ended_early(&self.left)),
            };
            if chunk.is_empty() {
                continue;
            }
            self.left.start += chunk.len() as u64;
            for hasher in
                self.digest.iter_mut().chain(self.check.as_mut().map(|(hasher, _)| hasher))
            {
                hasher.update(&chunk);
            }
            // The end is not waited for: many readers stop at the length that they were told.
            if self.left.is_empty() {
                self.end()?;
            }
            return Ok(Some(chunk));
        }
        Ok(None)
    }

    /// All bytes are there; tells what that says of the mirror. An error keeps the last of them
    /// back.
    fn end(&mut self) -> Result<()> {
        let source = std::mem::replace(&mut self.source, Source::Ended);
        let wrong =
            self.check.take().filter(|(hasher, expected)| hasher.clone().finish() != *expected);
        let Some((_, expected)) = wrong else {
            if let Source::Mirror(_, attempt) = source {
                self.of.mirror.succeeded(attempt);
            }
            return Ok(());
        };
        let error = wrong_bytes(&expected);
        if let Source::Mirror(_, attempt) = source {
            self.of.mirror.counts.broken();
            self.of.mirror.failed(attempt, &self.of.key, &error);
        }
        self.of.mirror.is_stale(&self.of.key);
        Err(error)
    }

    /// The mirror has failed in the middle: finds the rest at origin.
    async fn go_on_after(&mut self, error: Error) -> Result<()> {
        self.of.mirror.counts.broken();
        if let Source::Mirror(_, attempt) = std::mem::replace(&mut self.source, Source::Ended) {
            self.of.mirror.failed(attempt, &self.of.key, &error);
        }
        let rest = self.rest_at_origin().await.map_err(|failed| {
            let context = format!(
                "the mirror failed in the middle of the body ({}), and origin does not go on",
                error.message()
            );
            failed.with_context(&context)
        })?;
        self.of.mirror.counts.resumed();
        tracing::info!(
            key = self.of.key.as_str(),
            at = self.left.start,
            "a body that the mirror broke off goes on at origin"
        );
        self.source = Source::Origin(rest);
        Ok(())
    }

    async fn rest_at_origin(&mut self) -> Result<Chunks> {
        if let Some(etag) = self.etag.clone() {
            match self.of.open(self.left.clone(), Some(etag.clone())).await {
                Ok(object)
                    if object.meta().etag.as_ref().is_some_and(|told| told.strong_eq(&etag)) =>
                {
                    return Ok(object.into_stream().boxed());
                }
                // An ETag that origin does not know, and perhaps never did.
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

    /// The rest of an object whose beginning has a digest.
    async fn rest_by_digest(&mut self, digest: Checksum) -> Result<Chunks> {
        let mut chunks = self.of.open(self.start..self.left.end, None).await?.into_stream().boxed();
        let mut hasher = Hasher::new(digest.algorithm());
        let mut again = self.left.start - self.start;
        while again > 0 {
            let mut chunk = chunks.try_next().await?.ok_or_else(replaced)?;
            self.of.cache.counts.bytes(chunk.len() as u64);
            let known =
                chunk.split_to(usize::try_from(again).unwrap_or(usize::MAX).min(chunk.len()));
            hasher.update(&known);
            again -= known.len() as u64;
            if !chunk.is_empty() {
                chunks = stream::iter([Ok(chunk)]).chain(chunks).boxed();
            }
        }
        if hasher.finish() == digest { Ok(chunks) } else { Err(replaced()) }
    }
}

impl Of {
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

/// The next piece of a mirror's body, if it is one.
fn in_time(chunk: Result<Option<Bytes>>, left: &Range<u64>) -> Result<Bytes> {
    match chunk? {
        None => Err(ended_early(left)),
        Some(chunk) if chunk.len() as u64 > left.end - left.start => Err(Error::new(
            ErrorKind::Integrity,
            "the mirror's body is longer than it was said to be",
        )),
        Some(chunk) => Ok(chunk),
    }
}

/// Passing, since the mirror is not asked for this key again so soon.
fn wrong_bytes(expected: &Checksum) -> Error {
    let message = format!(
        "the bytes that the mirror sent do not have the checksum {expected}: open the object again"
    );
    Error::new(ErrorKind::Integrity, message).with_retryable(true)
}

fn ended_early(left: &Range<u64>) -> Error {
    let message = format!("the body ended {} bytes early", left.end - left.start);
    Error::new(ErrorKind::Unexpected, message).with_retryable(true)
}

/// Passing, since another read gets the new version from its beginning.
fn replaced() -> Error {
    let message = "the object is another version by now, and two are never spliced: open it again";
    Error::new(ErrorKind::Integrity, message).with_retryable(true)
}

/// The checksum that costs least to compute.
fn cheapest(checksums: &Checksums) -> Option<Checksum> {
    let by_cost = [ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Md5];
    by_cost.into_iter().find_map(|algorithm| checksums.get(algorithm)).cloned()
}
