//! [`Resuming`]: resumes the body of an open object where it broke off.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::backoff::Attempts;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::key::Key;
use crate::object::Object;
use crate::version;

type Chunks = BoxStream<'static, Result<Bytes>>;

/// Opens the rest of a body.
pub(super) struct Resuming {
    inner: Arc<dyn Driver>,
    key: Key,
    /// A strong ETag, which proves that the rest is of the same version.
    etag: ETag,
    rest: Range<u64>,
    attempts: Attempts,
}

impl Resuming {
    /// Creates the state for resuming the body of an object. Returns `None` if the object has no
    /// strong ETag, or no known size, without which the end of the body cannot be detected.
    pub(super) fn new(
        inner: &Arc<dyn Driver>,
        key: &Key,
        object: &Object,
        attempts: Attempts,
    ) -> Option<Self> {
        object.meta().known_size()?;
        let etag = object.meta().strong_etag()?.clone();
        Some(Self {
            inner: Arc::clone(inner),
            key: key.clone(),
            etag,
            rest: object.range(),
            attempts,
        })
    }

    /// Returns the chunks of the body, and after an error those of the reopened object.
    pub(super) fn body(self, chunks: Chunks) -> Chunks {
        stream::unfold(Some((self, chunks)), |body| async {
            let (mut resuming, mut chunks) = body?;
            let chunk = resuming.next(&mut chunks).await?;
            let rest = chunk.is_ok().then_some((resuming, chunks));
            Some((chunk, rest))
        })
        .fuse()
        .boxed()
    }

    async fn next(&mut self, chunks: &mut Chunks) -> Option<Result<Bytes>> {
        loop {
            let error = match chunks.next().await {
                // An empty chunk does not count as progress.
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => {
                    self.rest.start = self.rest.start.saturating_add(chunk.len() as u64);
                    self.attempts.progress();
                    return Some(Ok(chunk));
                }
                // All bytes have arrived before the error.
                Some(Err(error)) if self.rest.is_empty() && error.is_retryable() => return None,
                Some(Err(error)) => error,
                None if self.rest.is_empty() => return None,
                None => self.ended_early(),
            };
            match self.resume(error).await {
                Ok(rest) => *chunks = rest,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn ended_early(&self) -> Error {
        let missing = self.rest.end.saturating_sub(self.rest.start);
        Error::new(ErrorKind::Unexpected, format!("the body ended {missing} bytes early"))
            .with_retryable(true)
    }

    async fn resume(&mut self, mut error: Error) -> Result<Chunks> {
        loop {
            self.attempts.after(error).await?;
            match self.reopen().await {
                Ok(rest) => return Ok(rest),
                Err(failed) => error = failed,
            }
        }
    }

    async fn reopen(&self) -> Result<Chunks> {
        // The other conditions of the first open are true for this version.
        let reopened =
            version::open_range(&self.inner, &self.key, &self.etag, self.rest.clone()).await;
        let object = reopened
            .map_err(|error| error.with_context("the body broke off and cannot be resumed"))?;
        Ok(object.into_stream().boxed())
    }
}
