//! Handles PUT: uploads with a signed link.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{
    ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, BodyStream, LengthLimitError};
use storage_core::signed_url::Grant;
use storage_core::{ETag, Error, ErrorKind, Key, Metadata, Payload, Result};

use crate::body::ResponseBody;
use crate::body_headers;
use crate::errors::{TOO_LARGE, text_response};
use crate::preconditions::text_of;
use crate::request_body::{BoxError, RequestBody};
use crate::settings::Settings;

/// Saves the body of a request as the object, which is visible after the whole body has arrived.
///
/// A link may bind the length and the type of the upload. The object gets the `Content-Type` of the
/// request and no other header, because no link binds others, and the uploader would choose them
/// for all readers (`docs/decisions/0070`). The request may have one condition: `If-None-Match: *`
/// for a new object, or `If-Match` for a version.
pub(super) async fn put<B: RequestBody>(
    settings: &Settings,
    key: &Key,
    grant: &Grant,
    headers: &HeaderMap,
    body: B,
) -> Result<Response<ResponseBody>> {
    let length = content_length(headers)?;
    if let Some(refusal) = refuse_early(settings, grant, headers, length) {
        return Ok(refusal);
    }
    let failure = BodyFailure::default();
    let mut payload =
        Payload::from_stream(chunks(body, settings.upload_idle_timeout, failure.clone()));
    if let Some(length) = length.or(grant.content_length) {
        payload = payload.with_size(length);
    }
    let mut save = settings.storage.save(key, payload).metadata(metadata(headers)?);
    if let Some(max) = settings.max_upload_size {
        save = save.max_size(max);
    }
    save = match condition(headers)? {
        Some(Condition::New) => save.create_new(),
        Some(Condition::Version(etag)) => save.if_match(etag),
        None => save,
    };
    let meta = match save.await {
        Ok(meta) => meta,
        Err(error) => return failure.response().ok_or(error),
    };
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::CREATED;
    if let Some(etag) = meta.etag.and_then(|etag| HeaderValue::from_str(&etag.to_string()).ok()) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// Returns a response if the upload can be refused before any byte is read.
fn refuse_early(
    settings: &Settings,
    grant: &Grant,
    headers: &HeaderMap,
    length: Option<u64>,
) -> Option<Response<ResponseBody>> {
    // A partial upload would replace the whole object (RFC 9110 section 14.5).
    if headers.contains_key(CONTENT_RANGE) {
        return Some(text_response(
            StatusCode::BAD_REQUEST,
            "An upload replaces the whole file: Content-Range is not supported.\n",
        ));
    }
    if let Some(refusal) = refuse_unbound(headers) {
        return Some(refusal);
    }
    if let (Some(wanted), Some(length)) = (grant.content_length, length)
        && wanted != length
    {
        return Some(text_response(
            StatusCode::FORBIDDEN,
            "The link is for an upload of another length.\n",
        ));
    }
    if let (Some(max), Some(length)) = (settings.max_upload_size, length)
        && length > max
    {
        return Some(text_response(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE));
    }
    let given = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if let Some(wanted) = &grant.content_type
        && given != Some(wanted.as_bytes())
    {
        return Some(text_response(
            StatusCode::FORBIDDEN,
            "The link is for an upload with another Content-Type.\n",
        ));
    }
    None
}

/// Refuses headers that describe the object and that no link binds. Accepts `Cache-Control`, which
/// browsers add, and which in a request concerns caches only (RFC 9111 section 5.2.1).
fn refuse_unbound(headers: &HeaderMap) -> Option<Response<ResponseBody>> {
    let is_given = |name: &HeaderName| {
        headers.get_all(name).iter().any(|value| !value.as_bytes().trim_ascii().is_empty())
    };
    let encodings =
        headers.get_all(CONTENT_ENCODING).iter().map(|value| value.as_bytes().trim_ascii());
    if encodings
        .into_iter()
        .any(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity"))
    {
        let text = "An upload by link must not have a Content-Encoding: send the file unencoded.\n";
        let mut response = text_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        // RFC 9110 section 15.5.16.
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return Some(response);
    }
    let text = if is_given(&CONTENT_DISPOSITION) {
        "The link does not bind Content-Disposition: upload without it.\n"
    } else if is_given(&CONTENT_LANGUAGE) {
        "The link does not bind Content-Language: upload without it.\n"
    } else {
        return None;
    };
    Some(text_response(StatusCode::FORBIDDEN, text))
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>> {
    body_headers::content_length(headers)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "Content-Length is not a number"))
}

fn metadata(headers: &HeaderMap) -> Result<Metadata> {
    let text = |name: HeaderName| -> Result<Option<String>> {
        let Some(value) = headers.get(&name) else { return Ok(None) };
        let text = value
            .to_str()
            .map_err(|_| Error::new(ErrorKind::InvalidInput, format!("{name} is not ASCII")))?;
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    };
    let mut metadata = Metadata::new();
    metadata.content_type = text(CONTENT_TYPE)?;
    Ok(metadata)
}

enum Condition {
    New,
    Version(ETag),
}

/// Returns the condition of an upload. Fails for a condition that the storage cannot check, so that
/// none is ignored.
fn condition(headers: &HeaderMap) -> Result<Option<Condition>> {
    let unsupported = || {
        Error::new(
            ErrorKind::InvalidInput,
            "the only conditions of an upload are If-None-Match: * and If-Match with one ETag",
        )
    };
    if headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(unsupported());
    }
    match (one(headers, &IF_NONE_MATCH)?, one(headers, &IF_MATCH)?) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Condition::New)),
        // `*` would parse as an ETag, and a storage has no condition for `If-Match: *`.
        (None, Some(etag)) if etag != "*" => {
            etag.parse().map(|etag| Some(Condition::Version(etag))).map_err(|_| unsupported())
        }
        _ => Err(unsupported()),
    }
}

/// Returns the value of a header that may occur at most once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(text_of), values.next()) {
        (None, _) => Ok(None),
        (Some(Some(text)), None) => Ok(Some(text.trim())),
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{name} occurs more than once or is not UTF-8"),
        )),
    }
}

/// The status for a body that could not be received. The storage reports that failure as its own
/// error, without the cause.
#[derive(Debug, Clone, Default)]
struct BodyFailure(Arc<OnceLock<StatusCode>>);

impl BodyFailure {
    /// Records the status of the first failure. Later ones are consequences of it.
    fn record(&self, status: StatusCode, error: Error) -> Error {
        let _ = self.0.set(status);
        error
    }

    fn broke_off(&self, cause: BoxError) -> Error {
        // A limit that the server sets, for example with tower-http.
        if is_over_limit(&*cause) {
            let error =
                Error::new(ErrorKind::TooLarge, "the upload exceeds the limit of the server")
                    .with_source(cause);
            return self.record(StatusCode::PAYLOAD_TOO_LARGE, error);
        }
        self.record(StatusCode::BAD_REQUEST, Error::unexpected("the upload broke off", cause))
    }

    fn stalled(&self) -> Error {
        self.record(
            StatusCode::REQUEST_TIMEOUT,
            Error::new(ErrorKind::Timeout, "the upload stalled"),
        )
    }

    fn response(&self) -> Option<Response<ResponseBody>> {
        let status = *self.0.get()?;
        tracing::debug!(status = status.as_u16(), "an upload could not be received");
        Some(match status {
            StatusCode::PAYLOAD_TOO_LARGE => text_response(status, TOO_LARGE),
            StatusCode::REQUEST_TIMEOUT => text_response(status, "The upload stalled.\n"),
            _ => text_response(status, "The upload broke off.\n"),
        })
    }
}

fn is_over_limit(cause: &(dyn StdError + 'static)) -> bool {
    cause.is::<LengthLimitError>() || cause.source().is_some_and(is_over_limit)
}

/// Returns the chunks of a body. Fails if none arrives within `idle`.
fn chunks<B: RequestBody>(
    body: B,
    idle: Duration,
    failure: BodyFailure,
) -> impl futures_core::Stream<Item = Result<Bytes>> + Send + 'static {
    let of_body = failure.clone();
    let frames =
        BodyStream::new(body.map_err(move |cause| of_body.broke_off(cause.into())).boxed_unsync());
    let chunks = stream::try_unfold((frames, failure), move |(mut frames, failure)| async move {
        match tokio::time::timeout(idle, frames.try_next()).await {
            Ok(frame) => Ok(frame?.map(|frame| (frame, (frames, failure)))),
            Err(_) => Err(failure.stalled()),
        }
    });
    // A frame without data is a trailer.
    chunks.try_filter_map(|frame| async move { Ok(frame.into_data().ok()) }).boxed()
}
