//! [`Negotiation`]: what a request gets of an object whose metadata is known.

use std::borrow::Cow;

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY};
use http::{Method, Response, StatusCode};
use storage_core::{ETag, Object, ObjectMeta};

use crate::body::ResponseBody;
use crate::decode::decode;
use crate::encoding::{self, EncodingPolicy, SentEncoding};
use crate::errors::text_response;
use crate::header_policy::{HeaderOverrides, HeaderPolicy};
use crate::responses::{self, Decision};

/// A GET or HEAD, and how its response is made.
pub(crate) struct Negotiation<'a> {
    pub(crate) policy: &'a HeaderPolicy,
    pub(crate) encoding_policy: EncodingPolicy,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) overrides: HeaderOverrides,
}

impl Negotiation<'_> {
    pub(crate) fn sent_encoding(&self, meta: &ObjectMeta) -> SentEncoding {
        let stored = meta.metadata.content_encoding.as_deref();
        self.encoding_policy.choose(stored, self.headers)
    }

    /// A part of encoded bytes cannot be decoded, so it is sent as it is stored.
    fn sent_encoding_of(&self, meta: &ObjectMeta, is_part: bool) -> SentEncoding {
        match self.sent_encoding(meta) {
            SentEncoding::Decoded(_) if is_part => SentEncoding::AsStored,
            sent => sent,
        }
    }

    pub(crate) fn is_decoded(&self, meta: &ObjectMeta) -> bool {
        matches!(self.sent_encoding(meta), SentEncoding::Decoded(_))
    }

    pub(crate) fn content_headers(&self, meta: &ObjectMeta, sent: SentEncoding) -> HeaderMap {
        let mut headers = self.policy.headers(&representation(meta, sent), &self.overrides);
        if is_encoded(meta) && self.encoding_policy != EncodingPolicy::AsStored {
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

    pub(crate) fn decide(&self, meta: &ObjectMeta, sent: SentEncoding) -> Decision {
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

    pub(crate) fn head(&self, meta: &ObjectMeta) -> Response<ResponseBody> {
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

    /// Sends an open object: all of it, or the opened range.
    pub(crate) fn send(&self, object: Object, is_part: bool) -> Response<ResponseBody> {
        let sent = self.sent_encoding_of(object.meta(), is_part);
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

    /// Responds with an object that is open. A body that streams is sent whole, regardless of the
    /// range that the request is for (RFC 9110 section 14.2 permits that), because the bytes before
    /// the range would have to be read.
    pub(crate) fn respond_with(&self, object: Object) -> Response<ResponseBody> {
        let meta = object.meta();
        if self.method == Method::HEAD {
            return self.head(meta);
        }
        let is_part = meta.known_size().is_some_and(|size| object.range() != (0..size));
        let sent = self.sent_encoding_of(meta, is_part);
        match self.decide(meta, sent) {
            Decision::NotModified => responses::not_modified(self.content_headers(meta, sent)),
            Decision::PreconditionFailed => responses::precondition_failed(),
            // No range has no bytes (RFC 9110 section 14.1.2).
            _ if is_part && object.range().is_empty() => responses::not_satisfiable(meta.size),
            Decision::NotSatisfiable if !is_part => responses::not_satisfiable(meta.size),
            Decision::Part(range) if !is_part => match object.narrow(range) {
                Ok(part) => self.send(part, true),
                Err(whole) => self.send(whole, false),
            },
            _ => self.send(object, is_part),
        }
    }
}

pub(crate) fn has_size(meta: &ObjectMeta) -> bool {
    meta.known_size().is_some()
}

pub(crate) fn is_encoded(meta: &ObjectMeta) -> bool {
    encoding::is_encoded(meta.metadata.content_encoding.as_deref())
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

pub(crate) fn not_acceptable() -> Response<ResponseBody> {
    let mut response = text_response(
        StatusCode::NOT_ACCEPTABLE,
        "The file is stored in an encoding that the client does not accept.\n",
    );
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}
