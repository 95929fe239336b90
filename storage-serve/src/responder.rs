//! [`Responder`]: responds to GET and HEAD with objects of any source.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt, StreamExt};
use http::header::{HeaderMap, HeaderValue, IF_RANGE, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use storage_core::{
    ByteRange, ETag, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result, UnknownSize,
};

use crate::body::{OpenRange, ResponseBody};
use crate::encoding::{EncodingPolicy, SentEncoding};
use crate::errors::text_response;
use crate::header_policy::{HeaderOverrides, HeaderPolicy};
use crate::negotiation::{Negotiation, has_size, not_acceptable};
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
        let negotiation = self.negotiation(method, headers, overrides);
        ReadRequest { negotiation, source, key }.respond().await
    }

    /// Responds to a GET or HEAD with an object that is open: see
    /// [`respond_with`](crate::respond_with).
    pub fn respond_with(
        &self,
        object: Object,
        method: &Method,
        headers: &HeaderMap,
    ) -> Response<ResponseBody> {
        self.negotiation(method, headers, HeaderOverrides::default()).respond_with(object)
    }

    fn negotiation<'a>(
        &'a self,
        method: &'a Method,
        headers: &'a HeaderMap,
        overrides: HeaderOverrides,
    ) -> Negotiation<'a> {
        let (policy, encoding_policy) = (&self.headers, self.encoding_policy);
        Negotiation { policy, encoding_policy, method, headers, overrides }
    }
}

/// A GET or HEAD of an object.
struct ReadRequest<'a, S> {
    negotiation: Negotiation<'a>,
    source: &'a S,
    key: &'a Key,
}

impl<S: Source> ReadRequest<'_, S> {
    async fn respond(&self) -> Result<Response<ResponseBody>> {
        if self.negotiation.method == Method::HEAD {
            return match self.source.stat(self.key).await {
                Ok(meta) => Ok(self.negotiation.head(&meta)),
                // Opening returns the headers without the size. The body is not read.
                Err(error) => {
                    Ok(self.negotiation.head(self.open_without_size(error).await?.meta()))
                }
            };
        }
        let requested = ranges::parse_range(self.negotiation.headers).unwrap_or_default();
        if self.needs_stat(&requested) {
            return self.stat_and_get().await;
        }
        let range = requested.first().copied();
        let mut options = options(None, range);
        options.allow_unknown_size = true;
        match self.source.open(self.key, &options).await {
            // A range of the stored bytes is not a range of the decoded bytes.
            Ok(object)
                if range.is_some()
                    && has_size(object.meta())
                    && self.negotiation.is_decoded(object.meta()) =>
            {
                self.stat_and_get().await
            }
            Ok(object) => {
                // An object without a size is sent whole, and is decoded as without a range.
                let is_part = range.is_some() && has_size(object.meta());
                Ok(self.negotiation.send(object, is_part))
            }
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
        preconditions::is_conditional(self.negotiation.headers)
            || requested.len() > 1
            || (!requested.is_empty() && self.negotiation.headers.contains_key(IF_RANGE))
            || requested.iter().any(is_impossible)
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
        let sent = self.negotiation.sent_encoding(&meta);
        let range = match self.negotiation.decide(&meta, sent) {
            Decision::NotModified => {
                return Ok(Some(responses::not_modified(
                    self.negotiation.content_headers(&meta, sent),
                )));
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
        let object =
            object.filter(|object| !is_part || !self.negotiation.is_decoded(object.meta()));
        Ok(object.map(|object| self.negotiation.send(object, is_part)))
    }

    /// Opens an object whose `stat` failed because its size is unknown, and decides by the metadata
    /// that `open` returns.
    async fn get_without_size(&self, error: Error) -> Result<Response<ResponseBody>> {
        let object = self.open_without_size(error).await?;
        let sent = self.negotiation.sent_encoding(object.meta());
        Ok(match self.negotiation.decide(object.meta(), sent) {
            Decision::NotModified => {
                responses::not_modified(self.negotiation.content_headers(object.meta(), sent))
            }
            Decision::PreconditionFailed => responses::precondition_failed(),
            _ => self.negotiation.send(object, false),
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
        let headers = self.negotiation.content_headers(meta, SentEncoding::AsStored);
        responses::parts(headers, ranges, meta.size, self.part_opener(meta, first)).map(Some)
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

/// Returns the response for an object that was replaced during each attempt.
fn object_keeps_changing() -> Response<ResponseBody> {
    let mut response = text_response(
        StatusCode::SERVICE_UNAVAILABLE,
        "The file was replaced while it was read.\n",
    );
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
