//! Responses that several routes share.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use storage_serve::{Body, plain};

pub(super) fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "There is no such file.\n")
}

pub(super) fn json(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = plain(status, "").map(|_| Body::bytes(document.to_string().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
