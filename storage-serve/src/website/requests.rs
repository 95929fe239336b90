//! What a website does with a request, for [`Website`](super::Website) and for the mirror's server.

use std::borrow::Cow;

use http::header::{ACCEPT_ENCODING, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, LOCATION, VARY};
use http::request::Parts;
use http::{Response, StatusCode};
use storage_core::Result;

use super::paths::{EncodedPage, Page};
use crate::body::ResponseBody;
use crate::encoding;
use crate::errors::text_response;
use crate::key::path_text;

/// Returns the path of a request as [`Paths::find`](super::Paths::find) takes it. A path that
/// cannot be decoded is one that no website has: no key contains NUL.
pub fn path_of(head: &Parts) -> Cow<'_, str> {
    path_text(head.uri.path()).unwrap_or(Cow::Borrowed("\0"))
}

/// Returns the best form of an object that a client accepts. `None` is the object itself.
pub fn accepted_form<'a>(page: &'a Page, headers: &HeaderMap) -> Option<&'a EncodedPage> {
    page.encoded.iter().find(|form| encoding::is_accepted(&form.encoding, headers))
}

/// States that the response depends on the encodings that a client accepts.
pub fn vary_by_encoding(headers: &mut HeaderMap) {
    let is_stated = headers.get_all(VARY).iter().any(|value| value == "accept-encoding");
    if !is_stated {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Returns the headers of a request that apply to the page for what is missing: not the conditions
/// and ranges, which are about another object.
pub fn missing_headers(headers: &HeaderMap) -> HeaderMap {
    let mut applied = HeaderMap::new();
    for accepted in headers.get_all(ACCEPT_ENCODING) {
        applied.append(ACCEPT_ENCODING, accepted.clone());
    }
    applied
}

/// Makes the response with the page for what is missing a 404, which has no version.
pub fn set_missing(response: &mut Response<ResponseBody>) {
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().remove(ETAG);
        response.headers_mut().remove(LAST_MODIFIED);
    }
}

/// Redirects to the path of the request with a `/` at its end, and its query. The location is
/// relative (RFC 3986 section 4.2), because the service may be mounted at any path. It begins with
/// `./`, so that no segment is read as a scheme or a host.
pub fn directory_redirect(head: &Parts) -> Result<Response<ResponseBody>> {
    let last = head.uri.path().rsplit('/').next().unwrap_or_default();
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("./{last}/{query}")).map_err(|cause| {
        storage_core::Error::unexpected("the path is not a valid header value", cause)
    })?;
    let mut response = text_response(StatusCode::PERMANENT_REDIRECT, "");
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
