//! PATCH: appends bytes to an upload.

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

use super::create::reject_what_is_no_file;
use super::digest::{self, Digest};
use super::fields::{Dialect, Fields};
use super::problem::Problem;
use super::respond::{self, PARTIAL};
use crate::body::ResponseBody;
use crate::body_headers;
use crate::request_body::RequestBody;
use crate::uploads::engine::{Append, End, Failure};
use crate::uploads::settings::Settings;
use crate::uploads::token::Token;
use crate::uploads::tus::chunks;

pub(super) async fn append<B: RequestBody>(
    settings: &Settings,
    token: &Token,
    head: &Parts,
    body: B,
    dialect: Dialect,
) -> Result<Response<ResponseBody>, Problem> {
    if dialect.has_type && !body_headers::has_type(&head.headers, PARTIAL) {
        let title = format!("The Content-Type must be {PARTIAL}.");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, title)
            .header(HeaderName::from_static("accept-patch"), HeaderValue::from_static(PARTIAL)));
    }
    reject_what_is_no_file(&head.headers)?;
    let fields = Fields::read(&head.headers, dialect)?;
    let offset = fields.offset.ok_or_else(|| Problem::bad("Upload-Offset is missing."))?;
    let is_last = fields.is_complete.ok_or_else(|| Problem::bad("Upload-Complete is missing."))?;
    let length = fields.length(offset, is_last)?;
    let digest = digest::read(&head.headers, offset == 0 && is_last)?;
    let request = Append {
        id: token.id.clone(),
        offset,
        end: if is_last { End::WithBody(length) } else { End::Later(length) },
        body_size: fields.body_size,
        checksum: digest.as_ref().map(Digest::checksum).transpose()?,
        body: chunks(body),
    };
    let loaded = match settings.engine.append(request).await {
        Ok(loaded) => loaded,
        Err(failure) => return Err(problem(settings, token, failure, offset, digest).await),
    };
    let status = if is_last { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok(respond::progress(status, &loaded.state, token, dialect))
}

/// Returns the problem of a body, with the offset if the client can continue there.
async fn problem(
    settings: &Settings,
    token: &Token,
    failure: Failure,
    provided: u64,
    digest: Option<Digest>,
) -> Problem {
    match (failure, digest) {
        (Failure::WrongOffset(expected), _) => Problem::mismatching_offset(expected, provided),
        (Failure::Superseded, _) => match settings.engine.load(&token.id).await {
            Ok(loaded) => Problem::mismatching_offset(loaded.state.offset(), provided),
            Err(failure) => failure.into(),
        },
        (failure, digest) => digest::problem(failure, digest.as_ref()),
    }
}
