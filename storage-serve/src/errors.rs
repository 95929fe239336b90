//! Converts the errors of a storage to responses.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use storage_core::{Error, ErrorKind, Operation};

use crate::body::ResponseBody;

/// The text of the response to an upload that is too large.
pub(super) const TOO_LARGE: &str = "The upload is too large.\n";

/// The status and the text of a response.
type Status = (StatusCode, &'static str);

const BAD_REQUEST: Status = (StatusCode::BAD_REQUEST, "The request is malformed.\n");
const ALREADY_EXISTS: Status = (StatusCode::CONFLICT, "The file already exists.\n");
const PRECONDITION_FAILED: Status =
    (StatusCode::PRECONDITION_FAILED, "The file is not the version that the request requires.\n");

/// Returns a response with a short plain text and `Cache-Control: no-store`.
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

/// Returns a 405 response with the allowed methods.
#[must_use]
pub fn method_not_allowed(allowed: &'static str) -> Response<ResponseBody> {
    let mut response =
        text_response(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Returns the response to a request of an application's own handler that failed with an error, and
/// logs the error.
///
/// The response contains only the kind of the error, because its message may contain buckets, hosts
/// and directories. The log contains the message: at level `error` for a status of 500 or above,
/// otherwise at level `debug`.
///
/// | kind | status |
/// |-|-|
/// | `NotFound` | 404 |
/// | `InvalidInput` | 400 |
/// | `InvalidKey` | 404; 400 if the method changes something |
/// | `AlreadyExists` | 409; 412 for PUT, where it is the result of `If-None-Match: *` |
/// | `PreconditionFailed` | 412 |
/// | `NotModified` | 304 for GET and HEAD (RFC 9110 section 13.2.2), otherwise 412 |
/// | `RangeNotSatisfiable` | 416 |
/// | `Conflict`, `Integrity`, `TooLarge` | 409, 422 and 413 if the method changes something, because the bytes are the client's; otherwise 500 |
/// | `StorageFull`, `RateLimited`, `Timeout`, `Unsupported` | 507, 503, 504, 501 |
/// | all others, such as `PermissionDenied` | 500 |
///
/// ```
/// use http::{Method, StatusCode};
/// use storage_core::Error;
/// use storage_serve::error_response;
///
/// let response = error_response(&Method::GET, &Error::not_found());
/// assert_eq!(response.status(), StatusCode::NOT_FOUND);
/// ```
#[must_use]
pub fn error_response(method: &Method, error: &Error) -> Response<ResponseBody> {
    let response = match error.kind() {
        ErrorKind::InvalidInput => response_of(error, BAD_REQUEST),
        ErrorKind::AlreadyExists if method != Method::PUT => response_of(error, ALREADY_EXISTS),
        ErrorKind::NotModified if method.is_safe() => not_modified(),
        ErrorKind::NotModified => response_of(error, PRECONDITION_FAILED),
        kind => response_of(error, status_of(kind, !method.is_safe())),
    };
    log(method, error, response.status());
    response
}

/// Returns the response of [`Serve`](crate::Serve) to a request that failed with an error of the
/// storage, and logs the error.
///
/// `Serve` checks conditions, ranges and uploads itself, so kinds such as `NotModified` are not the
/// client's fault here.
pub(crate) fn failure_response(method: &Method, error: &Error) -> Response<ResponseBody> {
    let response = response_of(error, status_of(error.kind(), method == Method::PUT));
    log(method, error, response.status());
    response
}

/// Returns the response to a call of a storage that failed, as [`error_response`] does. A call that
/// reads counts as GET, and any other as POST. For handlers that return the error.
///
/// ```
/// use http::StatusCode;
/// use storage_core::Memory;
/// use storage_serve::error_response_of_call;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let error = Memory::storage().stat("a.txt").await.unwrap_err();
/// assert_eq!(error_response_of_call(&error).status(), StatusCode::NOT_FOUND);
/// # }
/// ```
#[must_use]
pub fn error_response_of_call(error: &Error) -> Response<ResponseBody> {
    use Operation::{Exists, List, ListMultipart, ListParts, Open, Stat, Url};
    let reads = matches!(
        error.operation(),
        Some(Open | Stat | Exists | List | Url | ListParts | ListMultipart)
    );
    error_response(if reads { &Method::GET } else { &Method::POST }, error)
}

fn log(method: &Method, error: &Error, status: StatusCode) {
    if status.is_server_error() {
        tracing::error!(%method, %error, status = status.as_u16(), "a request failed");
    } else {
        tracing::debug!(%method, %error, status = status.as_u16(), "a request was refused");
    }
}

/// Returns a response without the headers of [`text_response`], which a cache would apply to the
/// version that it has (RFC 9111 section 4.3.4).
fn not_modified() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// Returns the response of [`Serve`](crate::Serve) to a GET or HEAD that failed with an error of
/// the storage, without logging it. Use it in a server that changes the status and then logs the
/// response.
#[must_use]
pub fn error_response_unlogged(error: &Error) -> Response<ResponseBody> {
    response_of(error, status_of(error.kind(), false))
}

fn response_of(error: &Error, (status, text): Status) -> Response<ResponseBody> {
    let mut response = text_response(status, text);
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}

/// Returns the status for a kind of error and the text of the response.
pub(crate) fn status_of(kind: ErrorKind, is_upload: bool) -> Status {
    match kind {
        ErrorKind::InvalidKey if is_upload => {
            (StatusCode::BAD_REQUEST, "The path is not a valid file name.\n")
        }
        ErrorKind::Conflict if is_upload => {
            (StatusCode::CONFLICT, "The upload conflicts with another file or request.\n")
        }
        ErrorKind::InvalidInput if is_upload => BAD_REQUEST,
        ErrorKind::Integrity if is_upload => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "The upload does not match its length or checksum.\n",
        ),
        ErrorKind::TooLarge if is_upload => (StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE),
        // An object whose key is invalid does not exist.
        ErrorKind::NotFound | ErrorKind::InvalidKey => {
            (StatusCode::NOT_FOUND, "There is no such file.\n")
        }
        ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed => PRECONDITION_FAILED,
        ErrorKind::RangeNotSatisfiable => {
            (StatusCode::RANGE_NOT_SATISFIABLE, "The file has none of the requested bytes.\n")
        }
        ErrorKind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "The storage is full.\n"),
        ErrorKind::RateLimited => {
            (StatusCode::SERVICE_UNAVAILABLE, "Too many requests: try again later.\n")
        }
        ErrorKind::Timeout => {
            (StatusCode::GATEWAY_TIMEOUT, "The storage did not respond in time.\n")
        }
        ErrorKind::Unsupported => {
            (StatusCode::NOT_IMPLEMENTED, "The storage does not support this request.\n")
        }
        // Includes `PermissionDenied`: the server's access to its storage does not concern clients.
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "The storage failed.\n"),
    }
}
