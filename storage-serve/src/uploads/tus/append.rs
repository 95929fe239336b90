//! PATCH: appends bytes to an upload.

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, BodyStream};

use super::respond::{self, Rejection};
use super::{checksum, headers};
use crate::body::ResponseBody;
use crate::body_headers;
use crate::request_body::{BoxError, RequestBody};
use crate::uploads::engine::{Append, End, ExpectedChecksum, Failure, Loaded};
use crate::uploads::settings::Settings;
use crate::uploads::token::Token;

const TYPE: &str = "application/offset+octet-stream";

/// The body of a request, and where it belongs.
pub(super) struct Body<B> {
    pub(super) offset: u64,
    pub(super) length: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) checksum: Option<ExpectedChecksum>,
    pub(super) body: B,
}

pub(super) async fn append<B: RequestBody>(
    settings: &Settings,
    token: &Token,
    head: &Parts,
    body: B,
) -> Result<Response<ResponseBody>, Rejection> {
    if !has_type(&head.headers) {
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("The Content-Type must be {TYPE}.\n"),
        ));
    }
    if head.headers.contains_key(CONTENT_ENCODING) {
        // The encoding would get lost.
        let text = "Content-Encoding is not supported.\n".to_owned();
        return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let checksum = checksum::read(&head.headers)?;
    let offset = headers::number(&head.headers, "upload-offset")?
        .ok_or_else(|| Rejection::bad("Upload-Offset is missing.\n".to_owned()))?;
    let length = headers::number(&head.headers, "upload-length")?;
    let size = headers::content_length(&head.headers)?;
    let loaded = run(settings, token, Body { offset, length, size, checksum, body }).await?;
    Ok(respond::progress(StatusCode::NO_CONTENT, &loaded.state, token))
}

pub(in crate::uploads) fn has_type(headers: &HeaderMap) -> bool {
    body_headers::has_type(headers, TYPE)
}

pub(super) async fn run<B: RequestBody>(
    settings: &Settings,
    token: &Token,
    body: Body<B>,
) -> Result<Loaded, Failure> {
    let Body { offset, length, size, checksum, body } = body;
    let request = Append {
        id: token.id.clone(),
        offset,
        end: End::AtLength(length),
        body_size: size,
        checksum,
        body: chunks(body),
    };
    settings.engine.append(request).await
}

pub(in crate::uploads) fn chunks<B: RequestBody>(
    body: B,
) -> BoxStream<'static, Result<Bytes, BoxError>> {
    let frames = BodyStream::new(body.map_err(Into::into).boxed_unsync());
    // A frame without data is a trailer.
    frames.try_filter_map(|frame| async move { Ok(frame.into_data().ok()) }).boxed()
}
