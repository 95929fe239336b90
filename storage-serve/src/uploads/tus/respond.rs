//! The responses of tus, and their statuses.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use storage_core::ErrorKind;

use super::headers::VERSION;
use crate::body::ResponseBody;
use crate::errors::{status_of, text_response};
use crate::uploads::engine::{Concat, Failure, State};
use crate::uploads::grant::Refusal;
use crate::uploads::token::Token;

pub(super) const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

/// A request that gets an error as response.
#[derive(Debug)]
pub(in crate::uploads) struct Rejection {
    pub(in crate::uploads) status: StatusCode,
    pub(in crate::uploads) text: String,
}

impl Rejection {
    pub(in crate::uploads) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(in crate::uploads) fn bad(text: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(in crate::uploads) fn response(self) -> Response<ResponseBody> {
        let mut response = text_response(self.status, "");
        *response.body_mut() = ResponseBody::bytes(Bytes::from(self.text));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::LOCKED) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refusal> for Rejection {
    fn from(Refusal { status, text }: Refusal) -> Self {
        Self { status, text }
    }
}

/// Returns the response to a HEAD that fails. Clients repeat a HEAD only after 423. After any other
/// status they begin another upload, and send all bytes again.
pub(super) fn of_head(failure: Failure) -> Rejection {
    let is_passing = match &failure {
        Failure::Storage(_) | Failure::Superseded | Failure::Busy => true,
        Failure::Refused(refusal) => refusal.status.is_server_error(),
        _ => false,
    };
    let Rejection { status, text } = Rejection::from(failure);
    Rejection { status: if is_passing { StatusCode::LOCKED } else { status }, text }
}

/// Clients repeat a PATCH after 409, 423 and 5xx. Every other status is final for them.
impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        let (status, text) = match failure {
            Failure::Refused(refusal) => return refusal.into(),
            Failure::Busy => (StatusCode::LOCKED, "Another request is at work on the upload.\n"),
            Failure::TooMany => {
                (StatusCode::TOO_MANY_REQUESTS, "Too many uploads are unfinished.\n")
            }
            Failure::Final => (StatusCode::FORBIDDEN, "A final upload accepts no bytes.\n"),
            Failure::WrongChecksum => (checksum_mismatch(), "The body has another checksum.\n"),
            Failure::Gone => (StatusCode::GONE, "The upload is not available anymore.\n"),
            Failure::WrongOffset(offset) => {
                tracing::debug!(offset, "a request does not begin at the offset of the upload");
                (StatusCode::CONFLICT, "The request does not begin where the upload ends.\n")
            }
            Failure::Superseded => {
                (StatusCode::CONFLICT, "Another request has changed the upload.\n")
            }
            Failure::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, crate::errors::TOO_LARGE),
            Failure::WrongLength => {
                (StatusCode::BAD_REQUEST, "Upload-Length contradicts the upload.\n")
            }
            Failure::Completed => (StatusCode::BAD_REQUEST, "The upload is complete.\n"),
            Failure::BrokeOff => (StatusCode::INTERNAL_SERVER_ERROR, "The body broke off.\n"),
            Failure::Stalled => (StatusCode::SERVICE_UNAVAILABLE, "The body stalled.\n"),
            Failure::Rejected(error) => {
                tracing::warn!(%error, "an upload cannot be completed");
                (StatusCode::UNPROCESSABLE_ENTITY, "The file cannot be created.\n")
            }
            Failure::Storage(error) => {
                tracing::error!(%error, "the storage of an upload failed");
                of_storage(error.kind())
            }
        };
        Self::new(status, text)
    }
}

/// The status of tus for a checksum that differs.
fn checksum_mismatch() -> StatusCode {
    StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST)
}

fn of_storage(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::InvalidKey | ErrorKind::InvalidInput => {
            (StatusCode::BAD_REQUEST, "The storage does not accept the file.\n")
        }
        ErrorKind::TooLarge
        | ErrorKind::StorageFull
        | ErrorKind::RateLimited
        | ErrorKind::Timeout => status_of(kind, true),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "The storage failed.\n"),
    }
}

/// Returns a response without a body that no cache stores.
pub(in crate::uploads) fn empty(status: StatusCode) -> Response<ResponseBody> {
    let has_no_body = status == StatusCode::NO_CONTENT;
    let body = if has_no_body { ResponseBody::none() } else { ResponseBody::empty() };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns a response with the offset and the expiry of an upload. Without an offset, clients ask
/// for it.
pub(super) fn progress(status: StatusCode, state: &State, token: &Token) -> Response<ResponseBody> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    if let Some(offset) = state.visible_offset() {
        headers.insert(OFFSET, HeaderValue::from(offset));
    }
    let expires = token.expires_at().map(httpdate::fmt_http_date);
    if let Some(Ok(expires)) = expires.map(HeaderValue::try_from) {
        headers.insert(EXPIRES, expires);
    }
    response
}

/// Returns the response to HEAD.
pub(super) fn description(state: &State, token: &Token) -> Response<ResponseBody> {
    let mut response = progress(StatusCode::OK, state, token);
    let headers = response.headers_mut();
    match state.length {
        Some(length) => headers.insert(LENGTH, HeaderValue::from(length)),
        None => headers.insert(DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    let concat = match &state.concat {
        Some(Concat::Partial) => Some("partial"),
        Some(Concat::Final(text)) => Some(text.as_str()),
        None => None,
    };
    if let Some(Ok(concat)) = concat.map(HeaderValue::from_str) {
        headers.insert(CONCAT, concat);
    }
    if let Some(Ok(metadata)) = state.sent_metadata.as_deref().map(HeaderValue::from_str) {
        headers.insert(METADATA, metadata);
    }
    response
}

/// Adds the version of the protocol, which every response contains.
pub(super) fn finish(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    response.headers_mut().insert(RESUMABLE, HeaderValue::from_static(VERSION));
    response
}
