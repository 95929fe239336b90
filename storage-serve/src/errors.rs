//! Failures of a storage as answers.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use storage_core::{Error, ErrorKind};

use crate::body::ResponseBody;

/// What an upload is told that has too many bytes.
pub(super) const TOO_LARGE: &str = "The upload is too large.\n";

/// A short answer in plain text, which no cache keeps.
#[must_use]
pub fn text_response(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::bytes(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 405, with the methods that would do.
#[must_use]
pub fn method_not_allowed(allowed: &'static str) -> Response<ResponseBody> {
    let mut response =
        text_response(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What a client is told of a failure: its kind. What the storage says is for the log: it may name
/// buckets, hosts and directories. What a client can do something about is its mistake (4xx); the
/// same kind may be the server's trouble (5xx) where the client only reads.
#[must_use]
pub fn error_response(method: &Method, error: &Error) -> Response<ResponseBody> {
    let response = response(error, method == Method::PUT);
    let status = response.status();
    if status.is_server_error() {
        tracing::error!(%method, %error, status = status.as_u16(), "a request failed");
    } else {
        tracing::debug!(%method, %error, status = status.as_u16(), "a request was refused");
    }
    response
}

/// Makes the response of [`failure`] to a GET or HEAD, and logs nothing: for a server that changes
/// the status, and logs what it sends.
#[must_use]
pub fn error_response_unlogged(error: &Error) -> Response<ResponseBody> {
    response(error, false)
}

fn response(error: &Error, uploads: bool) -> Response<ResponseBody> {
    let (status, text) = told(error.kind(), uploads);
    let mut response = text_response(status, text);
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

fn told(kind: ErrorKind, uploads: bool) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::InvalidKey if uploads => {
            (StatusCode::BAD_REQUEST, "No file can have this name.\n")
        }
        ErrorKind::Conflict if uploads => {
            (StatusCode::CONFLICT, "Another file or request is in the way.\n")
        }
        ErrorKind::InvalidInput if uploads => {
            (StatusCode::BAD_REQUEST, "The request cannot be understood.\n")
        }
        ErrorKind::Integrity if uploads => {
            (StatusCode::UNPROCESSABLE_ENTITY, "The bytes are not what they were said to be.\n")
        }
        ErrorKind::TooLarge if uploads => (StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE),
        // Where no object can be there is none.
        ErrorKind::NotFound | ErrorKind::InvalidKey => {
            (StatusCode::NOT_FOUND, "There is no such file.\n")
        }
        ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed => (
            StatusCode::PRECONDITION_FAILED,
            "The file is not the version that the request is for.\n",
        ),
        ErrorKind::RangeNotSatisfiable => {
            (StatusCode::RANGE_NOT_SATISFIABLE, "The file has no such bytes.\n")
        }
        ErrorKind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "There is no room left.\n"),
        ErrorKind::RateLimited => {
            (StatusCode::SERVICE_UNAVAILABLE, "Too many requests: try again later.\n")
        }
        ErrorKind::Timeout => {
            (StatusCode::GATEWAY_TIMEOUT, "The storage did not answer in time.\n")
        }
        ErrorKind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "The storage cannot do this.\n"),
        // That this server may not read its storage is no fault of the client's.
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "The storage failed.\n"),
    }
}
