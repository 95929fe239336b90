//! [`Request`]: one call of the S3 API, before it is signed and sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_client::header_value;
use storage_core::{Checksum, Result};

use crate::checksums::BodyChecksum;
use crate::headers;

/// How long the response may take to begin, beyond the time that sending the body takes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for calls that need much time at the service: completing an upload, copying.
const SLOW_RESPONSE_TIMEOUT: Duration = Duration::from_secs(600);
/// The slowest supported connection, in bytes per second (4 KiB/s). If the service acknowledges no
/// data, TCP ends the connection much earlier.
const MIN_THROUGHPUT: u64 = 4 * 1024;

/// When a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryRule {
    /// After any retryable failure: the request has the same effect if it is repeated.
    Always,
    /// Only if the service did not start it. If the response to a conditional save was lost, a
    /// second attempt would find the object of the first and report a conflict.
    OnlyIfNotStarted,
}

/// One call of the S3 API.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) key: &'a str,
    pub(crate) query: Vec<(&'a str, &'a str)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Chunks,
    /// The SHA-256 of the body, for the signature.
    pub(crate) digest: Option<Checksum>,
    pub(crate) retry: RetryRule,
    pub(crate) timeout: Duration,
    /// Whether to request an object with `Content-Encoding: gzip` as it is stored. Otherwise Google
    /// decodes it.
    pub(crate) accepts_gzip: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Chunks::default(),
            digest: None,
            retry: RetryRule::Always,
            timeout: RESPONSE_TIMEOUT,
            accepts_gzip: false,
        }
    }

    pub(crate) fn query(mut self, name: &'a str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn headers(mut self, headers: HeaderMap) -> Self {
        if self.headers.is_empty() {
            self.headers = headers;
        } else {
            self.headers.extend(headers);
        }
        self
    }

    /// Adds a checksum of the body, which the service verifies: as a header, or in the signature,
    /// which every service verifies.
    pub(crate) fn with_checksum(mut self, body_checksum: &BodyChecksum) -> Result<Self> {
        if body_checksum.in_signature {
            self.digest = Some(body_checksum.checksum.clone());
        }
        Ok(match headers::checksum_header(body_checksum.checksum.algorithm()) {
            Some(name) if body_checksum.in_header => {
                self.header(name, header_value(&headers::to_base64(&body_checksum.checksum))?)
            }
            _ => self,
        })
    }

    pub(crate) fn body(mut self, body: impl Into<Chunks>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn retry(mut self, retry: RetryRule) -> Self {
        self.retry = retry;
        self
    }

    /// Sets whether to request the stored encoding from a service that would decode it.
    pub(crate) fn accepts_gzip(mut self, accepts: bool) -> Self {
        self.accepts_gzip = accepts;
        self
    }

    /// Allows more time, for calls that need much time at the service.
    pub(crate) fn allow_slow_response(mut self) -> Self {
        self.timeout = SLOW_RESPONSE_TIMEOUT;
        self
    }

    /// Returns the longest time until the response begins.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.timeout + Duration::from_secs(self.body.len() / MIN_THROUGHPUT)
    }
}

/// Bytes in several chunks, which are sent without being copied together. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chunks {
    chunks: Arc<[Bytes]>,
    len: u64,
}

impl Chunks {
    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the chunks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }

    pub(crate) fn into_reqwest(self) -> reqwest::Body {
        match &*self.chunks {
            [] => reqwest::Body::from(""),
            [one] => reqwest::Body::from(one.clone()),
            _ => {
                let chunks = self.chunks;
                let each = (0..chunks.len())
                    .map(move |index| Ok::<_, std::convert::Infallible>(chunks[index].clone()));
                reqwest::Body::wrap_stream(stream::iter(each))
            }
        }
    }
}

impl From<Vec<Bytes>> for Chunks {
    fn from(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into(), len }
    }
}

impl From<Bytes> for Chunks {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len() as u64;
        if len == 0 { Self::default() } else { Self { chunks: Arc::new([bytes]), len } }
    }
}
