//! [`reject_malformed`]: requests that an HTTP/1.1 server must reject and hyper accepts.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Response, StatusCode, Version};

use crate::body::ResponseBody;
use crate::errors::text_response;

/// Returns a 400 response for a request without `Host` or with several (RFC 9112 section 3.2), or
/// whose length servers may read differently (section 6.3): with `Transfer-Encoding` and
/// `Content-Length`, or with `Transfer-Encoding` if `accepts_body` is false.
///
/// The response closes the connection, so that the following bytes are not read as another request.
/// hyper checks none of this, and removes `Content-Length` if there is a `Transfer-Encoding`. So
/// pass `false` as `accepts_body` for each method whose body is not read.
///
/// [`Serve`](crate::Serve) makes the same checks, except that it accepts a missing `Host`, because
/// a request that was not received from a connection may have none.
#[must_use]
pub fn reject_malformed(head: &Parts, accepts_body: bool) -> Option<Response<ResponseBody>> {
    if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return Some(refusal("The request has no Host.\n"));
    }
    reject_ambiguous(head, accepts_body)
}

/// Rejects requests like [`reject_malformed`], but accepts a request without `Host`.
pub(super) fn reject_ambiguous(head: &Parts, accepts_body: bool) -> Option<Response<ResponseBody>> {
    if head.headers.get_all(HOST).iter().nth(1).is_some() {
        return Some(refusal("The request has more than one Host.\n"));
    }
    let is_chunked = head.headers.contains_key(TRANSFER_ENCODING);
    if is_chunked && (!accepts_body || head.headers.contains_key(CONTENT_LENGTH)) {
        return Some(refusal("The request must not have a Transfer-Encoding.\n"));
    }
    None
}

/// Closes the connection after a request with `Transfer-Encoding`, because hyper may have removed
/// its `Content-Length` (RFC 9112 section 6.3).
pub(super) fn close_if_chunked(is_chunked: bool, response: &mut Response<ResponseBody>) {
    if is_chunked {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn refusal(text: &'static str) -> Response<ResponseBody> {
    let mut response = text_response(StatusCode::BAD_REQUEST, text);
    close_if_chunked(true, &mut response);
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;

    fn status(
        version: Version,
        headers: &[(HeaderName, &'static str)],
        accepts_body: bool,
    ) -> Option<u16> {
        let mut head = Request::new(()).into_parts().0;
        head.version = version;
        for (name, value) in headers {
            head.headers.append(name, HeaderValue::from_static(value));
        }
        reject_malformed(&head, accepts_body).map(|response| response.status().as_u16())
    }

    #[test]
    fn a_request_without_exactly_one_host_is_rejected() {
        assert_eq!(status(Version::HTTP_11, &[], true), Some(400));
        assert_eq!(status(Version::HTTP_11, &[(HOST, "a"), (HOST, "a")], true), Some(400));
        assert_eq!(status(Version::HTTP_11, &[(HOST, "a")], true), None);
        // HTTP/2 has the host in the URI, and HTTP/1.0 does not need one.
        assert_eq!(status(Version::HTTP_2, &[], true), None);
        assert_eq!(status(Version::HTTP_10, &[], true), None);
    }

    #[test]
    fn a_transfer_encoding_is_rejected_with_a_length_or_where_no_body_is_accepted() {
        let (host, chunked, length) =
            ((HOST, "a"), (TRANSFER_ENCODING, "chunked"), (CONTENT_LENGTH, "5"));
        assert_eq!(status(Version::HTTP_11, &[host.clone(), chunked.clone()], true), None);
        assert_eq!(status(Version::HTTP_11, &[host.clone(), chunked.clone()], false), Some(400));
        assert_eq!(
            status(Version::HTTP_11, &[host.clone(), chunked, length.clone()], true),
            Some(400)
        );
        assert_eq!(status(Version::HTTP_11, &[host, length], false), None);
    }
}
