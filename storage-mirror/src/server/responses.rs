//! Responses that several routes share.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use storage_serve::ResponseBody;
use storage_serve::internal::text_response;

pub(super) fn not_found() -> Response<ResponseBody> {
    text_response(StatusCode::NOT_FOUND, "There is no such file.\n")
}

pub(super) fn json(status: StatusCode, document: &serde_json::Value) -> Response<ResponseBody> {
    let mut response =
        text_response(status, "").map(|_| ResponseBody::bytes(document.to_string().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
