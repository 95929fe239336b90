//! [`Body`]: the bytes of an open object, in order, whatever becomes of the connections they arrive on.
//!
//! A connection that breaks off or stalls is replaced by another that goes on at the next byte, on
//! the condition that the object is still the same version.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{IF_MATCH, RANGE};
use http::{HeaderMap, Method, StatusCode};
use storage_core::{ByteRange, ETag, Error, ErrorKind, Key, ObjectMeta, Result, Waits};

use crate::client::Answer;
use crate::headers::{self, header_value};
use crate::verbs::Shared;

/// What of a body has not been handed on.
pub(crate) struct Body {
    http: Shared,
    key: Key,
    /// What another answer has to tell to be joined to this one; `None` if nothing proves that it
    /// is the same version.
    version: Option<Version>,
    /// The positions of what is left.
    left: Range<u64>,
    /// The connection that the next bytes arrive on.
    answer: Option<Coming>,
    waits: Waits,
}

struct Version {
    etag: ETag,
    size: u64,
}

/// A connection, and what it still brings: it may begin before what is wanted and end after it,
/// where a server does not know of ranges.
struct Coming {
    answer: Answer,
    positions: Range<u64>,
}

impl Body {
    /// `range` of an object, of which an answer brings the positions `sent`.
    pub(crate) fn new(
        http: &Shared,
        meta: &ObjectMeta,
        range: Range<u64>,
        answer: Answer,
        sent: Range<u64>,
    ) -> Self {
        let etag = headers::proof_of_version(meta, &answer.headers).filter(|_| http.resume);
        Self {
            http: http.clone(),
            key: meta.key.clone(),
            version: etag.map(|etag| Version { etag, size: meta.size }),
            left: range,
            answer: Some(Coming { answer, positions: sent }),
            waits: Waits::default(),
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
            match self.next_of_answer().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => {
                    self.left.start += chunk.len() as u64;
                    self.waits.reset();
                    return Ok(Some(chunk));
                }
                Err(error) => self.go_on_after(error).await?,
            }
        }
        Ok(None)
    }

    /// What the next piece of the answer has of what is wanted; may be nothing.
    async fn next_of_answer(&mut self) -> Result<Bytes> {
        let Some(coming) = &mut self.answer else { return Err(ended_early(&self.left)) };
        let Some(mut chunk) = coming.answer.next().await? else {
            return Err(ended_early(&self.left));
        };
        // The positions are the server's word: near the greatest number, the end has none.
        let end = coming
            .positions
            .start
            .checked_add(chunk.len() as u64)
            .filter(|end| *end <= coming.positions.end);
        let end = end.ok_or_else(|| {
            Error::new(ErrorKind::Integrity, "the answer is longer than it was said to be")
        })?;
        let before = self.left.start.saturating_sub(coming.positions.start).min(chunk.len() as u64);
        let after = end.saturating_sub(self.left.end).min(chunk.len() as u64 - before);
        // Both are at most the length of the piece.
        let (before, after) = (before as usize, after as usize);
        coming.positions.start = end;
        chunk.truncate(chunk.len() - after);
        Ok(chunk.split_off(before))
    }

    /// Opens another connection in place of one that failed, after a while; gives up after several
    /// without a byte.
    async fn go_on_after(&mut self, mut error: Error) -> Result<()> {
        self.answer = None;
        loop {
            let may_go_on = error.is_retryable() && self.version.is_some();
            let Some(wait) = self.waits.next(error.retry_after()).filter(|_| may_go_on) else {
                return Err(error);
            };
            tracing::debug!(
                at = self.left.start,
                error = error.message(),
                "a body goes on over another connection"
            );
            tokio::time::sleep(wait).await;
            match self.connect().await {
                Ok(coming) => {
                    self.answer = Some(coming);
                    return Ok(());
                }
                Err(failed) => error = failed,
            }
        }
    }

    /// Opens a connection for what is left, if the object is still this version. What the server
    /// makes of the condition is not taken on trust.
    async fn connect(&self) -> Result<Coming> {
        let Some(Version { etag, size }) = &self.version else {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "nothing proves that the object is the same version",
            ));
        };
        let mut conditions = HeaderMap::new();
        conditions.insert(RANGE, header_value(&ByteRange::from(self.left.clone()).to_string())?);
        conditions.insert(IF_MATCH, header_value(&etag.to_string())?);
        let answer =
            self.http.client.object(Method::GET, &self.key, conditions).await.map_err(explained)?;
        if headers::etag(&answer.headers).as_ref() != Some(etag) {
            return Err(replaced());
        }
        let sent = match answer.status {
            StatusCode::PARTIAL_CONTENT => headers::content_range(&answer.headers),
            _ => headers::content_length(&answer.headers).map(|size| (0..size, size)),
        };
        match sent {
            Some((positions, told))
                if told == *size && (positions == self.left || positions == (0..*size)) =>
            {
                Ok(Coming { answer, positions })
            }
            _ => Err(Error::new(
                ErrorKind::Unexpected,
                "the server sends other bytes than those it was asked for",
            )),
        }
    }
}

fn ended_early(left: &Range<u64>) -> Error {
    let message = format!("the answer ended {} bytes early", left.end - left.start);
    Error::new(ErrorKind::Unexpected, message).with_retryable(true)
}

fn explained(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PreconditionFailed | ErrorKind::RangeNotSatisfiable => replaced(),
        ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, "the object was deleted while it was read")
        }
        _ => error,
    }
}

fn replaced() -> Error {
    Error::new(
        ErrorKind::PreconditionFailed,
        "the object was replaced while it was read: open it again",
    )
}
