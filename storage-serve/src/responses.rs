//! Responses to GET and HEAD by status, and how a request decides between them.
//!
//! ```
//! use http::{HeaderMap, Method, StatusCode, header};
//! use storage_core::{Key, ObjectMeta};
//! use storage_serve::ResponseBody;
//! use storage_serve::internal::{Decision, HeaderOverrides, HeaderPolicy, decide, responses};
//!
//! let meta = ObjectMeta::new(Key::new("a.txt")?, 5);
//! let mut request = HeaderMap::new();
//! request.insert(header::RANGE, "bytes=1-2".parse()?);
//! assert_eq!(decide(&Method::GET, &request, &meta), Decision::Part(1..3));
//!
//! let headers = HeaderPolicy::default().headers(&meta, &HeaderOverrides::default());
//! let response = responses::part(headers, &(1..3), meta.size, ResponseBody::bytes("el".into()));
//! assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
//! assert_eq!(response.headers()[header::CONTENT_RANGE], "bytes 1-2/5");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use storage_core::{Error, ObjectMeta, Result};

use crate::body::{OpenRange, ResponseBody};
use crate::errors::text_response;
use crate::preconditions::{self, Preconditions};
use crate::ranges::{self, ResolvedRanges};

/// The kind of response to a GET or HEAD of an existing object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// 200: the whole object.
    Whole,
    /// 206: one part.
    Part(Range<u64>),
    /// 206: several parts, as `multipart/byteranges`.
    Parts(Vec<Range<u64>>),
    /// 304: the client has this version.
    NotModified,
    /// 412: a precondition failed.
    PreconditionFailed,
    /// 416: the object has none of the requested bytes.
    NotSatisfiable,
}

/// Evaluates the preconditions and ranges of a request, in the order of RFC 9110 section 13.2.2.
/// Ranges apply only to GET (section 14.2).
#[must_use]
pub fn decide(method: &Method, request: &HeaderMap, meta: &ObjectMeta) -> Decision {
    match preconditions::evaluate_preconditions(request, meta) {
        Preconditions::NotModified => return Decision::NotModified,
        Preconditions::PreconditionFailed => return Decision::PreconditionFailed,
        Preconditions::Proceed => {}
    }
    let requested = if method == Method::GET { ranges::parse_range(request) } else { None };
    let Some(requested) = requested.filter(|_| preconditions::range_applies(request, meta)) else {
        return Decision::Whole;
    };
    match ranges::resolve_ranges(&requested, meta.size) {
        ResolvedRanges::Whole => Decision::Whole,
        ResolvedRanges::NotSatisfiable => Decision::NotSatisfiable,
        ResolvedRanges::Parts(mut parts) if parts.len() == 1 => {
            Decision::Part(parts.swap_remove(0))
        }
        ResolvedRanges::Parts(parts) => Decision::Parts(parts),
    }
}

/// Returns a 200 response with the headers and the body of an object.
#[must_use]
pub fn whole(headers: HeaderMap, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    set_length(&mut response);
    response
}

/// Returns a 206 response with one part. `range` must not be empty.
#[must_use]
pub fn part(
    mut headers: HeaderMap,
    range: &Range<u64>,
    size: u64,
    body: ResponseBody,
) -> Response<ResponseBody> {
    headers.insert(CONTENT_RANGE, content_range(range, size));
    let mut response = whole(headers, body);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response
}

/// Returns a 206 response with several parts (RFC 9110 section 14.6). Opens each part when the one
/// before it has been sent. No range may be empty.
///
/// The object must not have a `Content-Encoding`, which would apply to the whole multipart document
/// instead of its parts.
///
/// # Errors
/// `Unexpected` if the system provides no random numbers.
pub fn parts(
    mut headers: HeaderMap,
    ranges: Vec<Range<u64>>,
    size: u64,
    open: OpenRange,
) -> Result<Response<ResponseBody>> {
    let boundary = boundary()?;
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("application/octet-stream");
    let parts = ranges.into_iter().enumerate().map(|(n, range)| {
        let Range { start, end } = range;
        let (before, last) = (if n == 0 { "" } else { "\r\n" }, end - 1);
        let head = format!(
            "{before}--{boundary}\r\ncontent-type: {kind}\r\n\
             content-range: bytes {start}-{last}/{size}\r\n\r\n"
        );
        (Bytes::from(head), range)
    });
    let body =
        ResponseBody::parts(parts.collect(), Bytes::from(format!("\r\n--{boundary}--\r\n")), open);
    headers.insert(CONTENT_TYPE, value(&format!("multipart/byteranges; boundary={boundary}")));
    let mut response = whole(headers, body);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(response)
}

/// Returns a 304 response. Removes the headers that describe the body (RFC 9110 section 15.4.5).
#[must_use]
pub fn not_modified(mut headers: HeaderMap) -> Response<ResponseBody> {
    let body_headers = [
        ACCEPT_RANGES,
        CONTENT_DISPOSITION,
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_SECURITY_POLICY,
        CONTENT_TYPE,
        X_CONTENT_TYPE_OPTIONS,
    ];
    for name in body_headers {
        headers.remove(name);
    }
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// Returns a 412 response.
#[must_use]
pub fn precondition_failed() -> Response<ResponseBody> {
    text_response(
        StatusCode::PRECONDITION_FAILED,
        "The file is not the version that the request requires.\n",
    )
}

/// Returns a 416 response with the size (RFC 9110 section 15.5.17).
#[must_use]
pub fn not_satisfiable(size: u64) -> Response<ResponseBody> {
    let mut response = text_response(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "The file has none of the requested bytes.\n",
    );
    response.headers_mut().insert(CONTENT_RANGE, value(&format!("bytes */{size}")));
    response
}

/// Removes the body of a response to HEAD and keeps its `Content-Length`.
#[must_use]
pub fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let mut response = response;
    set_length(&mut response);
    response.map(|_| ResponseBody::none())
}

/// Completes a response: adds `Content-Length` if the length is known and the status has a body,
/// and removes the body of a response to HEAD.
#[must_use]
pub fn finish(method: &Method, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if method == Method::HEAD || !may_have_body(response.status()) {
        return without_body(response);
    }
    set_length(&mut response);
    response
}

/// Returns whether a status allows a body (RFC 9110 sections 15.3.5 and 15.4.5).
fn may_have_body(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// Changes `Cache-Control` so that shared caches must not store the response: removes `public` and
/// `s-maxage`, and adds `private` unless `no-store` is set. Directives for the client's own cache
/// stay.
pub fn make_private(headers: &mut HeaderMap) {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let for_client: Vec<&str> = lines
        .flat_map(preconditions::split_list)
        .filter(|part| !is_for_shared_caches(part))
        .collect();
    let has_no_store = for_client.iter().any(|part| part.eq_ignore_ascii_case("no-store"));
    let private = (!has_no_store).then_some("private");
    let directives: Vec<&str> = private.into_iter().chain(for_client).collect();
    let value = HeaderValue::from_str(&directives.join(", "))
        .unwrap_or(HeaderValue::from_static("private"));
    headers.insert(CACHE_CONTROL, value);
}

/// Returns whether a directive concerns shared caches. `private="field"` applies only to that field
/// (RFC 9111 section 5.2.2.7), so each form of `private` is replaced.
fn is_for_shared_caches(directive: &str) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    name.is_empty()
        || ["public", "private", "s-maxage"].iter().any(|shared| name.eq_ignore_ascii_case(shared))
}

fn set_length(response: &mut Response<ResponseBody>) {
    if let Some(len) = response.body().len().filter(|_| may_have_body(response.status())) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(len));
    }
}

fn content_range(range: &Range<u64>, size: u64) -> HeaderValue {
    value(&format!("bytes {}-{}/{size}", range.start, range.end - 1))
}

/// Returns a header value for text that is always valid.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Returns a random boundary, so that an object cannot be crafted to contain it.
fn boundary() -> Result<String> {
    let number = getrandom::u64().map_err(|cause| Error::unexpected("no random numbers", cause))?;
    Ok(format!("anystorage-{number:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_its_length_unless_its_status_has_no_body() {
        for (status, length) in [(200, Some("5")), (404, Some("5")), (204, None), (304, None)] {
            for method in [Method::GET, Method::HEAD] {
                let response =
                    finish(&method, text_response(StatusCode::from_u16(status).unwrap(), "hello"));
                let sent =
                    response.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap());
                assert_eq!(sent, length, "{status}");
                assert_eq!(
                    response.body().is_empty(),
                    method == Method::HEAD || length.is_none(),
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn a_private_response_has_no_directive_for_shared_caches() {
        for (stored, sent) in [
            (&[][..], "private"),
            (&["public, max-age=31536000"], "private, max-age=31536000"),
            (&["Public", "S-MaxAge=9, immutable"], "private, immutable"),
            (&["private=\"set-cookie, public\", max-age=9"], "private, max-age=9"),
            (&["private"], "private"),
            (&["no-store"], "no-store"),
            (&["public, no-store"], "no-store"),
            (&["no-cache=\"a, public\""], "private, no-cache=\"a, public\""),
            (&["public\u{e9}"], "private"),
            (&["public = 1"], "private"),
        ] {
            let mut headers = HeaderMap::new();
            for line in stored {
                headers.append(CACHE_CONTROL, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            make_private(&mut headers);
            let all: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(all, [sent], "{stored:?}");
        }
    }

    #[test]
    fn a_response_of_unknown_length_has_no_content_length() {
        let decoded =
            || whole(HeaderMap::new(), ResponseBody::stream(futures_util::stream::empty(), None));
        for method in [Method::GET, Method::HEAD] {
            let response = finish(&method, decoded());
            assert_eq!(
                (response.headers().get(CONTENT_LENGTH), response.body().len()),
                (None, None)
            );
        }
    }
}
