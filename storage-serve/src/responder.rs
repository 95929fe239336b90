//! [`Responder`]: responds to GET and HEAD with objects of any source.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt, StreamExt};
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, IF_RANGE, RETRY_AFTER,
    VARY,
};
use http::{Method, Response, StatusCode};
use storage_core::{
    ByteRange, ETag, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result, UnknownSize,
};

use crate::body::{OpenRange, ResponseBody};
use crate::decode::decode;
use crate::encoding::{self, EncodingPolicy, SentEncoding};
use crate::errors::text_response;
use crate::header_policy::{HeaderOverrides, HeaderPolicy};
use crate::responses::{self, Decision};
use crate::source::Source;
use crate::{preconditions, ranges};

/// The maximum number of attempts to open the version that `stat` returned. Then the response
/// is 503.
const MAX_ATTEMPTS: usize = 3;

/// Responds to GET and HEAD with objects of any [`Source`]. Handles ranges, conditions, encodings
/// and headers.
///
/// A request for the whole object or for one range, without conditions, is one `open` of the
/// source. HEAD is one `stat`. Other requests are one `stat`, followed by an `open` for each part
/// that is sent.
///
/// An object of unknown size is sent whole and without a length. If `stat` fails because the size
/// is unknown ([`UnknownSize`]), HEAD opens the object without reading it.
///
/// A response contains one version, even if the object is replaced between two calls.
///
/// ```
/// use http::{HeaderMap, Method, StatusCode};
/// use storage_core::Key;
/// use storage_serve::internal::{HeaderOverrides, Responder};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let storage = storage_core::Memory::storage();
/// storage.save("a.txt", "hello").await?;
///
/// let key = Key::new("a.txt")?;
/// let response = Responder::default()
///     .respond(&storage, &Method::GET, &HeaderMap::new(), &key, HeaderOverrides::default())
///     .await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// assert_eq!(response.body().len(), Some(5));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Responder {
    /// The headers of objects.
    pub headers: HeaderPolicy,
    /// How an object is sent to clients that do not accept its encoding.
    pub encoding_policy: EncodingPolicy,
}

impl Responder {
    /// Responds to a GET or HEAD of an object. Treats any other method as GET. Dropping the future
    /// cancels the calls of the source.
    ///
    /// A failed precondition and an unsatisfiable range are responses, not errors.
    ///
    /// # Errors
    /// Those of the source, for example `NotFound`. [`error_response`](crate::error_response)
    /// converts them to responses.
    pub async fn respond<S: Source>(
        &self,
        source: &S,
        method: &Method,
        headers: &HeaderMap,
        key: &Key,
        overrides: HeaderOverrides,
    ) -> Result<Response<ResponseBody>> {
        ReadRequest { responder: self, source, method, headers, key, overrides }.respond().await
    }
}

/// A GET or HEAD of an object.
struct ReadRequest<'a, S> {
    responder: &'a Responder,
    source: &'a S,
    method: &'a Method,
    headers: &'a HeaderMap,
    key: &'a Key,
    overrides: HeaderOverrides,
}

impl<S: Source> ReadRequest<'_, S> {
    async fn respond(&self) -> Result<Response<ResponseBody>> {
        if self.method == Method::HEAD {
            return match self.source.stat(self.key).await {
                Ok(meta) => Ok(self.head(&meta)),
                // Opening returns the headers without the size. The body is not read.
                Err(error) => Ok(self.head(self.open_without_size(error).await?.meta())),
            };
        }
        let requested = ranges::parse_range(self.headers).unwrap_or_default();
        if self.needs_stat(&requested) {
            return self.stat_and_get().await;
        }
        let range = requested.first().copied();
        let mut options = options(None, range);
        options.allow_unknown_size = true;
        match self.source.open(self.key, &options).await {
            // A range of the stored bytes is not a range of the decoded bytes.
            Ok(object)
                if range.is_some() && has_size(object.meta()) && self.is_decoded(object.meta()) =>
            {
                self.stat_and_get().await
            }
            Ok(object) => Ok(self.send(object, range.is_some())),
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                self.stat_and_get().await
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether the response depends on the metadata of the object.
    fn needs_stat(&self, requested: &[ByteRange]) -> bool {
        // Storages reject a range that no object can have as an error of the caller.
        let is_impossible = |range: &ByteRange| range.validated().is_err();
        preconditions::is_conditional(self.headers)
            || requested.len() > 1
            || (!requested.is_empty() && self.headers.contains_key(IF_RANGE))
            || requested.iter().any(is_impossible)
    }

    fn sent_encoding(&self, meta: &ObjectMeta) -> SentEncoding {
        let stored = meta.metadata.content_encoding.as_deref();
        self.responder.encoding_policy.choose(stored, self.headers)
    }

    fn is_decoded(&self, meta: &ObjectMeta) -> bool {
        matches!(self.sent_encoding(meta), SentEncoding::Decoded(_))
    }

    fn content_headers(&self, meta: &ObjectMeta, sent: SentEncoding) -> HeaderMap {
        let mut headers =
            self.responder.headers.headers(&representation(meta, sent), &self.overrides);
        if is_encoded(meta) && self.responder.encoding_policy != EncodingPolicy::AsStored {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if matches!(sent, SentEncoding::Decoded(_)) {
            headers.remove(CONTENT_ENCODING);
        }
        if matches!(sent, SentEncoding::Decoded(_)) || !has_size(meta) {
            headers.remove(ACCEPT_RANGES);
        }
        headers
    }

    fn decide(&self, meta: &ObjectMeta, sent: SentEncoding) -> Decision {
        let decision = responses::decide(self.method, self.headers, &representation(meta, sent));
        match decision {
            // Without a size, a range has no positions.
            Decision::Part(_) | Decision::Parts(_) | Decision::NotSatisfiable
                if !has_size(meta) =>
            {
                Decision::Whole
            }
            // Ranges apply only to the stored bytes.
            Decision::Part(_) | Decision::Parts(_) | Decision::NotSatisfiable
                if sent != SentEncoding::AsStored =>
            {
                Decision::Whole
            }
            // Without a strong ETag, parts of several versions cannot be distinguished. The
            // encoding of an object would apply to the whole multipart document.
            Decision::Parts(_) if meta.strong_etag().is_none() || is_encoded(meta) => {
                Decision::Whole
            }
            decision => decision,
        }
    }

    fn head(&self, meta: &ObjectMeta) -> Response<ResponseBody> {
        let sent = self.sent_encoding(meta);
        let mut headers = self.content_headers(meta, sent);
        match (self.decide(meta, sent), sent) {
            (Decision::NotModified, _) => responses::not_modified(headers),
            (Decision::PreconditionFailed, _) => responses::precondition_failed(),
            (_, SentEncoding::NotAcceptable) => not_acceptable(),
            (_, SentEncoding::Decoded(_)) => responses::whole(headers, ResponseBody::none()),
            (_, SentEncoding::AsStored) => {
                if let Some(size) = meta.known_size() {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
                }
                responses::whole(headers, ResponseBody::none())
            }
        }
    }

    /// Decides by the metadata from `stat`, and sends exactly that version. Tries again if the
    /// object changed in between.
    async fn stat_and_get(&self) -> Result<Response<ResponseBody>> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(response) = self.try_stat_and_get().await? {
                return Ok(response);
            }
        }
        Ok(object_keeps_changing())
    }

    /// Returns `None` if the object changed after `stat`.
    async fn try_stat_and_get(&self) -> Result<Option<Response<ResponseBody>>> {
        let meta = match self.source.stat(self.key).await {
            Ok(meta) => meta,
            Err(error) => return self.get_without_size(error).await.map(Some),
        };
        let sent = self.sent_encoding(&meta);
        let range = match self.decide(&meta, sent) {
            Decision::NotModified => {
                return Ok(Some(responses::not_modified(self.content_headers(&meta, sent))));
            }
            Decision::PreconditionFailed => return Ok(Some(responses::precondition_failed())),
            Decision::NotSatisfiable => return Ok(Some(responses::not_satisfiable(meta.size))),
            _ if sent == SentEncoding::NotAcceptable => return Ok(Some(not_acceptable())),
            Decision::Whole => None,
            Decision::Part(range) => Some(range),
            Decision::Parts(ranges) => return self.get_parts(&meta, ranges).await,
        };
        let is_part = range.is_some();
        let object = self.open_version(&meta, range).await?;
        // A copy onto itself may have changed the encoding without changing the version.
        let object = object.filter(|object| !is_part || !self.is_decoded(object.meta()));
        Ok(object.map(|object| self.send(object, is_part)))
    }

    /// Opens an object whose `stat` failed because its size is unknown, and decides by the metadata
    /// that `open` returns.
    async fn get_without_size(&self, error: Error) -> Result<Response<ResponseBody>> {
        let object = self.open_without_size(error).await?;
        let sent = self.sent_encoding(object.meta());
        Ok(match self.decide(object.meta(), sent) {
            Decision::NotModified => {
                responses::not_modified(self.content_headers(object.meta(), sent))
            }
            Decision::PreconditionFailed => responses::precondition_failed(),
            _ => self.send(object, false),
        })
    }

    /// Opens an object whose `stat` failed because its size is not known before its last byte.
    /// Returns the error of `stat` if that is not the cause.
    async fn open_without_size(&self, error: Error) -> Result<Object> {
        if !UnknownSize::is_cause_of(&error) {
            return Err(error);
        }
        let mut options = OpenOptions::default();
        options.allow_unknown_size = true;
        self.source.open(self.key, &options).await
    }

    /// Opens the first part before responding, so that a failure still sets the status.
    async fn get_parts(
        &self,
        meta: &ObjectMeta,
        ranges: Vec<Range<u64>>,
    ) -> Result<Option<Response<ResponseBody>>> {
        let Some(first) = self.open_version(meta, ranges.first().cloned()).await? else {
            return Ok(None);
        };
        let headers = self.content_headers(meta, SentEncoding::AsStored);
        responses::parts(headers, ranges, meta.size, self.part_opener(meta, first)).map(Some)
    }

    /// Sends an open object: all of it, or the opened range.
    fn send(&self, object: Object, is_part: bool) -> Response<ResponseBody> {
        let sent = self.sent_encoding(object.meta());
        let headers = self.content_headers(object.meta(), sent);
        match sent {
            SentEncoding::NotAcceptable => not_acceptable(),
            SentEncoding::Decoded(coding) => responses::whole(headers, decode(coding, object)),
            SentEncoding::AsStored if is_part && has_size(object.meta()) => {
                let (range, size) = (object.range(), object.meta().size);
                responses::part(headers, &range, size, ResponseBody::object(object))
            }
            SentEncoding::AsStored => responses::whole(headers, ResponseBody::object(object)),
        }
    }

    /// Opens the version that `stat` returned, or returns `None` if it was replaced.
    async fn open_version(
        &self,
        meta: &ObjectMeta,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>> {
        match open(self.source, self.key, meta.strong_etag(), range.map(Into::into)).await {
            Ok(object) => Ok(is_same_version(meta, object.meta()).then_some(object)),
            Err(error) => match error.kind() {
                ErrorKind::PreconditionFailed | ErrorKind::RangeNotSatisfiable => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Returns a function that opens the parts, of the same version. The first is open already.
    fn part_opener(&self, meta: &ObjectMeta, first: Object) -> OpenRange {
        let (source, key, etag) =
            (self.source.clone(), self.key.clone(), meta.strong_etag().cloned());
        let first = Mutex::new(Some(first));
        Arc::new(move |range| {
            let opened = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (source, key, etag) = (source.clone(), key.clone(), etag.clone());
            async move {
                let object = match opened {
                    Some(object) => object,
                    None => open(&source, &key, etag.as_ref(), Some(range.into())).await?,
                };
                Ok(object.into_stream().boxed())
            }
            .boxed()
        })
    }
}

async fn open<S: Source>(
    source: &S,
    key: &Key,
    version: Option<&ETag>,
    range: Option<ByteRange>,
) -> Result<Object> {
    source.open(key, &options(version, range)).await
}

fn options(version: Option<&ETag>, range: Option<ByteRange>) -> OpenOptions {
    let mut options = OpenOptions::default();
    options.if_match = version.cloned();
    options.range = range;
    options
}

fn has_size(meta: &ObjectMeta) -> bool {
    meta.known_size().is_some()
}

fn is_encoded(meta: &ObjectMeta) -> bool {
    encoding::is_encoded(meta.metadata.content_encoding.as_deref())
}

/// Returns whether two calls returned the same version. Compares only what both returned, because
/// some storages return less in one of them.
fn is_same_version(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    fn agree<T: PartialEq>(before: Option<T>, after: Option<T>) -> bool {
        before.zip(after).is_none_or(|(before, after)| before == after)
    }
    before.size == after.size
        && agree(before.etag.as_ref(), after.etag.as_ref())
        && agree(
            before.last_modified.map(preconditions::seconds),
            after.last_modified.map(preconditions::seconds),
        )
}

/// Returns the metadata of the representation that is sent.
///
/// A decoded object is another representation, which needs its own ETag (RFC 9110 section 8.8.3.3),
/// so that no cache confuses the two. The ETag is weak, because other servers may decode the object
/// to different bytes.
fn representation(meta: &ObjectMeta, sent: SentEncoding) -> Cow<'_, ObjectMeta> {
    if !matches!(sent, SentEncoding::Decoded(_)) {
        return Cow::Borrowed(meta);
    }
    let mut decoded = meta.clone();
    decoded.etag =
        meta.etag.as_ref().and_then(|etag| ETag::weak(format!("{}-decoded", etag.opaque())).ok());
    Cow::Owned(decoded)
}

fn not_acceptable() -> Response<ResponseBody> {
    let mut response = text_response(
        StatusCode::NOT_ACCEPTABLE,
        "The file is stored in an encoding that the client does not accept.\n",
    );
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Returns the response for an object that was replaced during each attempt.
fn object_keeps_changing() -> Response<ResponseBody> {
    let mut response = text_response(
        StatusCode::SERVICE_UNAVAILABLE,
        "The file was replaced while it was read.\n",
    );
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
