//! Answers to GET and HEAD, once it is known what there is: what the server of a storage and a
//! mirror have in common.
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
//! let answer = responses::part(headers, &(1..3), meta.size, ResponseBody::bytes("el".into()));
//! assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
//! assert_eq!(answer.headers()[header::CONTENT_RANGE], "bytes 1-2/5");
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

/// What a GET or HEAD comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// 200: the whole object.
    Whole,
    /// 206: one part of it.
    Part(Range<u64>),
    /// 206: several parts of it, as `multipart/byteranges`.
    Parts(Vec<Range<u64>>),
    /// 304: the client has it.
    NotModified,
    /// 412: it is not the version that the client wants.
    PreconditionFailed,
    /// 416: it has no byte of those asked for.
    NotSatisfiable,
}

/// Evaluates conditions and ranges of a request for an object, in the order of RFC 9110, section
/// 13.2.2. Ranges count for GET alone (section 14.2).
#[must_use]
pub fn decide(method: &Method, request: &HeaderMap, meta: &ObjectMeta) -> Decision {
    match preconditions::evaluate_preconditions(request, meta) {
        Preconditions::NotModified => return Decision::NotModified,
        Preconditions::PreconditionFailed => return Decision::PreconditionFailed,
        Preconditions::Proceed => {}
    }
    let asked = if method == Method::GET { ranges::parse_range(request) } else { None };
    let Some(asked) = asked.filter(|_| preconditions::range_applies(request, meta)) else {
        return Decision::Whole;
    };
    match ranges::resolve_ranges(&asked, meta.size) {
        ResolvedRanges::Whole => Decision::Whole,
        ResolvedRanges::NotSatisfiable => Decision::NotSatisfiable,
        ResolvedRanges::Parts(mut parts) if parts.len() == 1 => {
            Decision::Part(parts.swap_remove(0))
        }
        ResolvedRanges::Parts(parts) => Decision::Parts(parts),
    }
}

/// 200, with the headers of the object and its body.
#[must_use]
pub fn whole(headers: HeaderMap, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    set_length(&mut response);
    response
}

/// 206, with one part, which may not be empty.
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

/// 206, with several parts (RFC 9110, section 14.6), which are opened when it is their turn. None
/// may be empty.
///
/// The parts have the type of the object; not its encoding, which would seem to be that of the
/// whole document: send an object that has one whole.
///
/// # Errors
/// `Unexpected` if the system has no random numbers.
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
            "{before}--{boundary}\r\ncontent-type: {kind}\r\ncontent-range: bytes {start}-{last}/{size}\r\n\r\n"
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

/// 304, with the headers that a cache would have to learn (RFC 9110, section 15.4.5).
#[must_use]
pub fn not_modified(mut headers: HeaderMap) -> Response<ResponseBody> {
    let of_the_body = [
        ACCEPT_RANGES,
        CONTENT_DISPOSITION,
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_SECURITY_POLICY,
        CONTENT_TYPE,
        X_CONTENT_TYPE_OPTIONS,
    ];
    for name in of_the_body {
        headers.remove(name);
    }
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// 412.
#[must_use]
pub fn precondition_failed() -> Response<ResponseBody> {
    text_response(
        StatusCode::PRECONDITION_FAILED,
        "The file is not the version that the request is for.\n",
    )
}

/// 416, with the size (RFC 9110, section 15.5.17).
#[must_use]
pub fn not_satisfiable(size: u64) -> Response<ResponseBody> {
    let mut response =
        text_response(StatusCode::RANGE_NOT_SATISFIABLE, "The file has no such bytes.\n");
    response.headers_mut().insert(CONTENT_RANGE, value(&format!("bytes */{size}")));
    response
}

/// The answer to HEAD: that to GET, with the length of its body, without the body.
#[must_use]
pub fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let mut response = response;
    set_length(&mut response);
    response.map(|_| ResponseBody::none())
}

/// Any answer as it goes to a client, whatever the server around does: with `Content-Length` if the
/// length is known and the status has a body, and to HEAD without a body.
#[must_use]
pub fn finish(method: &Method, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if method == Method::HEAD || !may_have_body(response.status()) {
        return without_body(response);
    }
    set_length(&mut response);
    response
}

/// RFC 9110, sections 15.3.5 and 15.4.5.
fn may_have_body(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// Makes a response one that caches shared by many users must not keep, whatever `Cache-Control` it
/// has: without `public` and `s-maxage`, and with `private` unless `no-store` is there. What else
/// it says of the client's own cache stays.
pub fn make_private(headers: &mut HeaderMap) {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let for_the_client: Vec<&str> =
        lines.flat_map(preconditions::split).filter(|part| !is_for_shared_caches(part)).collect();
    let is_stored_nowhere = for_the_client.iter().any(|part| part.eq_ignore_ascii_case("no-store"));
    let private = (!is_stored_nowhere).then_some("private");
    let directives: Vec<&str> = private.into_iter().chain(for_the_client).collect();
    let value = HeaderValue::from_str(&directives.join(", "))
        .unwrap_or(HeaderValue::from_static("private"));
    headers.insert(CACHE_CONTROL, value);
}

/// Whether a directive is about caches shared by many users. `private="field"` restricts that field
/// alone (RFC 9111, section 5.2.2.7), so `private` of any form is replaced.
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

/// Text of digits and letters.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Random, so that no object can hold it on purpose.
fn boundary() -> Result<String> {
    let number = getrandom::u64().map_err(|cause| Error::unexpected("no random numbers", cause))?;
    Ok(format!("anystorage-{number:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_length_unless_its_status_has_no_body() {
        for (status, length) in [(200, Some("5")), (404, Some("5")), (204, None), (304, None)] {
            for method in [Method::GET, Method::HEAD] {
                let answer =
                    finish(&method, text_response(StatusCode::from_u16(status).unwrap(), "hello"));
                let told =
                    answer.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap());
                assert_eq!(told, length, "{status}");
                assert_eq!(
                    answer.body().is_empty(),
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
    fn a_length_that_is_not_known_is_not_told() {
        let decoded =
            || whole(HeaderMap::new(), ResponseBody::stream(futures_util::stream::empty(), None));
        for method in [Method::GET, Method::HEAD] {
            let answer = finish(&method, decoded());
            assert_eq!((answer.headers().get(CONTENT_LENGTH), answer.body().len()), (None, None));
        }
    }
}
