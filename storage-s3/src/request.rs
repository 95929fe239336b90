//! [`Request`]: one call of the S3 API, before it is signed and sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_core::{Checksum, Result};

use crate::checksums::Proof;
use crate::headers;

/// How long an answer may take to begin, beyond the time that the request's own bytes need.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where the service has much to do before it answers: completing an upload, copying.
const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// What a connection carries at least, in bytes a second: one of several on a slow line. A peer
/// that acknowledges nothing at all is given up much earlier, by TCP.
const SLOWEST: u64 = 4 * 1024;

/// When a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Whenever a failure may pass: what happens twice is as if it happened once.
    Always,
    /// Only if the service has certainly not begun. If an answer is lost, the second attempt of a
    /// conditional save would take the first one's object for somebody else's.
    IfNotBegun,
}

/// One call of the S3 API.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) key: &'a str,
    pub(crate) query: Vec<(&'a str, &'a str)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Chunks,
    /// The body's SHA-256, for the signature.
    pub(crate) digest: Option<Checksum>,
    pub(crate) repeat: Repeat,
    pub(crate) patience: Duration,
    /// Whether an object that is stored with `Content-Encoding: gzip` is to be sent so. Otherwise
    /// Google decodes it.
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
            repeat: Repeat::Always,
            patience: PATIENCE,
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

    /// Has the service verify the body, by a header or by the signature, which every service
    /// checks.
    pub(crate) fn verified_by(mut self, proof: &Proof) -> Result<Self> {
        if proof.in_signature {
            self.digest = Some(proof.checksum.clone());
        }
        Ok(match headers::checksum_header(proof.checksum.algorithm()) {
            Some(name) if proof.in_header => {
                self.header(name, headers::header_value(&headers::base64_of(&proof.checksum))?)
            }
            _ => self,
        })
    }

    pub(crate) fn body(mut self, body: impl Into<Chunks>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// Accepts the stored encoding where the service would decode it otherwise.
    pub(crate) fn accepts_gzip(mut self, accepts: bool) -> Self {
        self.accepts_gzip = accepts;
        self
    }

    /// For calls that take the service long.
    pub(crate) fn patiently(mut self) -> Self {
        self.patience = LONG_PATIENCE;
        self
    }

    /// The longest time until an answer begins.
    pub(crate) fn time_limit(&self) -> Duration {
        self.patience + Duration::from_secs(self.body.len() / SLOWEST)
    }
}

/// Bytes in pieces, as they came: they are sent without being copied together. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chunks {
    chunks: Arc<[Bytes]>,
    len: u64,
}

impl Chunks {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The pieces.
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
