//! [`Response`] and [`ResponseBody`]: a response whose body is read within limits of time and size.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{HeaderMap, StatusCode};
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result};

use crate::errors;
use crate::freshness::response_meta;
use crate::metadata::object_meta;

/// A response whose body has not been read.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// When the request was sent.
    pub sent_at: Instant,
    /// The body.
    pub body: ResponseBody,
}

impl Response {
    /// Creates a response. `sent_at` is when its request was sent. Each chunk of the body must
    /// arrive within `idle_timeout`.
    #[must_use]
    pub fn new(mut response: reqwest::Response, sent_at: Instant, idle_timeout: Duration) -> Self {
        Self {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            sent_at,
            body: ResponseBody::new(response, idle_timeout),
        }
    }

    /// Returns the metadata of an object of this size: [`object_meta`], with the freshness of the
    /// response from [`response_meta`].
    #[must_use]
    pub fn object_meta(&self, key: &Key, size: u64) -> ObjectMeta {
        let mut meta = object_meta(key.clone(), size, &self.headers);
        meta.response = Some(response_meta(&self.headers, self.sent_at.elapsed()));
        meta
    }
}

/// The body of a response, of which each chunk must arrive within a time limit.
#[derive(Debug)]
pub struct ResponseBody {
    response: reqwest::Response,
    idle_timeout: Duration,
    limit_name: &'static str,
}

impl ResponseBody {
    fn new(response: reqwest::Response, idle_timeout: Duration) -> Self {
        Self { response, idle_timeout, limit_name: "" }
    }

    /// Sets the name of the time limit in error messages, such as `option idle_timeout`. Defaults
    /// to no name.
    #[must_use]
    pub fn with_limit_name(mut self, name: &'static str) -> Self {
        self.limit_name = name;
        self
    }

    /// Returns the next chunk, or `None` at the end. The time limit begins with each call, so the
    /// time between two calls does not count.
    ///
    /// Cancel safe: a dropped future loses no bytes.
    ///
    /// # Errors
    /// `Timeout` if no chunk arrives in time. `Unexpected`, retryable, if the connection breaks
    /// off.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match tokio::time::timeout(self.idle_timeout, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(cause)) => Err(errors::broken_off(cause)),
            Err(_) => Err(errors::stalled(self.idle_timeout, self.limit_name)),
        }
    }

    /// Returns the next chunk of a body of which `missing` bytes have not arrived yet.
    ///
    /// # Errors
    /// `Unexpected`, retryable, if the body ends. `Integrity` if the chunk has more than `missing`
    /// bytes. Otherwise as [`next`](Self::next).
    pub async fn next_of(&mut self, missing: u64) -> Result<Bytes> {
        match self.next().await? {
            None => Err(errors::ended_early(missing)),
            Some(chunk) if chunk.len() as u64 > missing => Err(errors::too_long()),
            Some(chunk) => Ok(chunk),
        }
    }

    /// Reads the rest of the body into memory.
    ///
    /// # Errors
    /// `TooLarge` if it has more than `max` bytes. Otherwise as [`next`](Self::next).
    pub async fn read(&mut self, max: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            if chunk.len() > max.saturating_sub(all.len()) {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("the response has more than {max} bytes"),
                ));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// Reads the first `max` bytes of the body, or fewer if the body ends or fails before.
    ///
    /// Use it for the text of an error response, because a failure to read that text must not hide
    /// the status.
    pub async fn read_start(&mut self, max: usize) -> Bytes {
        let mut start = BytesMut::new();
        self.read_start_into(&mut start, max).await;
        start.freeze()
    }

    /// Does the same as [`read_start`](Self::read_start), and returns the bytes that have arrived
    /// when the time limit ends.
    pub async fn read_start_within(&mut self, max: usize, limit: Duration) -> Bytes {
        let mut start = BytesMut::new();
        let _ = tokio::time::timeout(limit, self.read_start_into(&mut start, max)).await;
        start.freeze()
    }

    async fn read_start_into(&mut self, start: &mut BytesMut, max: usize) {
        while start.len() < max
            && let Ok(Some(chunk)) = self.next().await
        {
            start.extend_from_slice(&chunk[..chunk.len().min(max - start.len())]);
        }
    }

    /// Converts the body to a stream of its chunks. The stream does not resume after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, |mut body| async move {
            let chunk = body.next().await?;
            Ok(chunk.map(|chunk| (chunk, body)))
        })
    }
}
