//! The responses of the draft.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::fields::Dialect;
use super::problem::Problem;
use crate::body::ResponseBody;
use crate::uploads::engine::State;
use crate::uploads::settings::Settings;
use crate::uploads::token::Token;
use crate::uploads::tus::empty;

const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const INCOMPLETE: HeaderName = HeaderName::from_static("upload-incomplete");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const LIMIT: HeaderName = HeaderName::from_static("upload-limit");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// The type of the body of a PATCH.
pub(super) const PARTIAL: &str = "application/partial-upload";

/// Returns a response with the progress and the limits of an upload.
pub(super) fn progress(
    status: StatusCode,
    state: &State,
    token: &Token,
    dialect: Dialect,
) -> Response<ResponseBody> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    set_complete(headers, state.is_done(), dialect);
    headers.insert(OFFSET, HeaderValue::from(state.offset()));
    let max_age = format!("max-age={}", token.seconds_left());
    let limit = match state.max_size {
        Some(max) => format!("max-size={}, {max_age}", structured_integer(max)),
        None => max_age,
    };
    if let Ok(limit) = HeaderValue::try_from(limit) {
        headers.insert(LIMIT, limit);
    }
    response
}

/// Removes the headers of the protocol from the response to a request without them.
pub(super) fn remove_protocol(headers: &mut HeaderMap) {
    for name in [COMPLETE, INCOMPLETE, OFFSET, LIMIT] {
        headers.remove(name);
    }
}

/// Returns the response to HEAD.
pub(super) fn description(
    state: &State,
    token: &Token,
    dialect: Dialect,
) -> Response<ResponseBody> {
    let mut response = progress(StatusCode::NO_CONTENT, state, token, dialect);
    if let Some(length) = state.known_length() {
        response.headers_mut().insert(LENGTH, HeaderValue::from(length));
    }
    response
}

/// Returns the response to a request that failed.
pub(super) fn failed(problem: Problem, dialect: Dialect) -> Response<ResponseBody> {
    let is_final = problem.is_final;
    let mut response = problem.response();
    if is_final {
        set_complete(response.headers_mut(), true, dialect);
    }
    response
}

/// Adds what the server supports to the response to OPTIONS.
pub(in crate::uploads) fn describe(settings: &Settings, headers: &mut HeaderMap) {
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(PARTIAL));
    headers.insert(LIMIT, limit(settings));
}

/// Returns the limits of every upload.
pub(super) fn limit(settings: &Settings) -> HeaderValue {
    // The draft requires a limit, so that clients recognise the support of uploads.
    let limit = settings.max_size.map_or_else(
        || "min-size=0".to_owned(),
        |max| format!("max-size={}", structured_integer(max)),
    );
    HeaderValue::try_from(limit).unwrap_or(HeaderValue::from_static("min-size=0"))
}

fn set_complete(headers: &mut HeaderMap, is_complete: bool, dialect: Dialect) {
    let (name, value) = match dialect.says_incomplete {
        true => (INCOMPLETE, !is_complete),
        false => (COMPLETE, is_complete),
    };
    headers.insert(name, HeaderValue::from_static(if value { "?1" } else { "?0" }));
}

/// Returns the largest number of structured fields instead of a larger one (RFC 9651 section
/// 3.3.1).
fn structured_integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}
