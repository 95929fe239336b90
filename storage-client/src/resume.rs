//! [`ResumableBody`]: the bytes of one version of an object. If a connection fails, the body
//! continues over another one.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderMap, StatusCode};
use storage_core::{ETag, Error, Result};

use crate::backoff::Backoff;
use crate::errors::{ended_early, other_bytes, replaced_while_read, too_long};
use crate::headers;
use crate::response::ResponseBody;

/// Requests the rest of one version of an object.
pub trait Reopen: Send + Sync {
    /// Whether [`reopen`](Self::reopen) itself repeats failed requests. If not, [`ResumableBody`]
    /// calls it again after a retryable error.
    const REPEATS: bool;

    /// Requests positions of the object. The response must be of the same version and contain all
    /// of these positions: check it with [`resumed_positions`].
    ///
    /// # Errors
    /// Any error ends the body. After a retryable one, the request is first repeated, unless
    /// `REPEATS` is `true`.
    fn reopen(&self, rest: Range<u64>) -> impl Future<Output = Result<Segment>> + Send;
}

/// The body of one response, with the positions of its bytes. They may begin before the requested
/// positions and end after them, because some servers ignore ranges.
#[derive(Debug)]
pub struct Segment {
    body: ResponseBody,
    positions: Range<u64>,
}

impl Segment {
    /// Creates a segment from the body of a response and the positions that its headers state.
    #[must_use]
    pub fn new(body: ResponseBody, positions: Range<u64>) -> Self {
        Self { body, positions }
    }
}

/// The bytes of a range of an object, in order.
///
/// A connection that stalls or breaks off is replaced by another one, which continues at the next
/// byte, if `R` can prove that the version is the same. After five attempts in a row that yield no
/// byte, with the delays of [`Backoff`], the body ends with the last error. It ends at once with an
/// error that is not retryable.
#[derive(Debug)]
pub struct ResumableBody<R> {
    remaining: Range<u64>,
    segment: Option<Segment>,
    reopen: Option<R>,
    backoff: Backoff,
}

impl<R: Reopen> ResumableBody<R> {
    /// Creates a body of these positions. Without a `segment`, the first read requests one. Without
    /// `reopen`, the body does not resume, and ends with the error of its connection.
    pub fn new(range: Range<u64>, segment: Option<Segment>, reopen: Option<R>) -> Self {
        Self { remaining: range, segment, reopen, backoff: Backoff::default() }
    }

    /// Returns the positions that have not been returned yet.
    pub fn remaining(&self) -> Range<u64> {
        self.remaining.clone()
    }

    /// Ends the body at an earlier position. The rest of an open response is discarded.
    pub fn shorten(&mut self, end: u64) {
        self.remaining.end = self.remaining.end.min(end).max(self.remaining.start);
    }

    /// Returns the next chunk, which is not empty, or `None` at the end of the range.
    ///
    /// Cancel safe: a dropped future loses no bytes.
    ///
    /// # Errors
    /// - `Integrity` if a response has more bytes than its headers state.
    /// - `Unexpected` if a response lacks requested positions.
    /// - The error of the connection or of [`Reopen::reopen`] if the body cannot continue.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.remaining.is_empty() {
            let error = match &mut self.segment {
                Some(segment) => match segment.next(&self.remaining).await {
                    Ok(chunk) if chunk.is_empty() => continue,
                    Ok(chunk) => {
                        self.remaining.start += chunk.len() as u64;
                        self.backoff.reset();
                        return Ok(Some(chunk));
                    }
                    Err(error) => Some(error),
                },
                None => None,
            };
            self.connect(error).await?;
        }
        // Returns the connection to the pool, or closes it if bytes of the response remain.
        self.segment = None;
        Ok(None)
    }

    /// Opens another connection: after a delay if one failed, otherwise at once.
    async fn connect(&mut self, mut failure: Option<Error>) -> Result<()> {
        self.segment = None;
        loop {
            if let Some(error) = failure.take() {
                self.wait_after(error).await?;
            }
            let Some(reopen) = &self.reopen else {
                return Err(ended_early(self.remaining.end - self.remaining.start));
            };
            match reopen.reopen(self.remaining.clone()).await {
                Ok(segment) if segment.contains(&self.remaining) => {
                    self.segment = Some(segment);
                    return Ok(());
                }
                Ok(_) => return Err(other_bytes()),
                Err(error) if R::REPEATS => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
    }

    /// Waits before the next attempt, or returns the error if no attempt is left.
    async fn wait_after(&mut self, error: Error) -> Result<()> {
        let may_resume = error.is_retryable() && self.reopen.is_some();
        let delay = if may_resume { self.backoff.next_delay(error.retry_after()) } else { None };
        let Some(delay) = delay else { return Err(error) };
        tracing::debug!(
            at = self.remaining.start,
            error = error.message(),
            "a body continues over another connection"
        );
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Reads the rest of the range into memory.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn read_to_end(mut self) -> Result<Vec<Bytes>> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next().await? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// Converts the body to a stream of its chunks.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static
    where
        R: 'static,
    {
        stream::try_unfold(self, |mut body| async move {
            let chunk = body.next().await?;
            Ok(chunk.map(|chunk| (chunk, body)))
        })
    }
}

impl Segment {
    fn contains(&self, range: &Range<u64>) -> bool {
        self.positions.start <= range.start && range.end <= self.positions.end
    }

    /// Returns the wanted bytes of the next chunk, which may be none.
    async fn next(&mut self, wanted: &Range<u64>) -> Result<Bytes> {
        let Some(mut chunk) = self.body.next().await? else {
            return Err(ended_early(wanted.end - wanted.start));
        };
        let length = chunk.len() as u64;
        // The server states the positions, so the sum may overflow.
        let end = self.positions.start.checked_add(length).filter(|&end| end <= self.positions.end);
        let end = end.ok_or_else(too_long)?;
        let before = wanted.start.saturating_sub(self.positions.start).min(length);
        let after = end.saturating_sub(wanted.end).min(length - before);
        self.positions.start = end;
        // Both casts are lossless: neither number exceeds the length of the chunk.
        chunk.truncate(chunk.len() - after as usize);
        Ok(chunk.split_off(before as usize))
    }
}

/// Checks the response to a request for the rest of a version, and returns the positions of its
/// bytes: the rest, or the whole object if the server ignores ranges.
///
/// `etag` and `size` are those of the version. The ETag is compared even if the request had an
/// `If-Match`, because some servers ignore conditions.
///
/// # Errors
/// `PreconditionFailed` if the response has another ETag or none. `Unexpected` if it contains other
/// positions, does not state them, or states another size.
pub fn resumed_positions(
    status: StatusCode,
    headers: &HeaderMap,
    rest: &Range<u64>,
    etag: &ETag,
    size: u64,
) -> Result<Range<u64>> {
    if headers::etag(headers).as_ref() != Some(etag) {
        return Err(replaced_while_read());
    }
    match headers::received_range(status, headers) {
        Some((positions, whole))
            if whole == size && (positions == *rest || positions == (0..size)) =>
        {
            Ok(positions)
        }
        _ => Err(other_bytes()),
    }
}
