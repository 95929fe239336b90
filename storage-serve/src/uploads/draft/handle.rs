//! Which request does what.

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::fields::Dialect;
use super::problem::Problem;
use super::{append, create, respond};
use crate::body::ResponseBody;
use crate::errors::method_not_allowed;
use crate::request_body::RequestBody;
use crate::uploads::settings::Settings;
use crate::uploads::token::Token;
use crate::uploads::tus;

/// Handles a request with this path below that of the service.
pub(in crate::uploads) async fn handle<B: RequestBody>(
    settings: &Settings,
    path: &str,
    head: Parts,
    body: B,
) -> Response<ResponseBody> {
    let dialect = Dialect::of(&head.headers);
    let response = dispatch(settings, path, head, body, dialect).await;
    let mut response = response.unwrap_or_else(|problem| respond::failed(problem, dialect));
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let limit = respond::limit(settings);
        response.headers_mut().entry("upload-limit").or_insert(limit);
    }
    response
}

async fn dispatch<B: RequestBody>(
    settings: &Settings,
    path: &str,
    head: Parts,
    body: B,
    dialect: Dialect,
) -> Result<Response<ResponseBody>, Problem> {
    if path.is_empty() {
        return match head.method {
            Method::POST | Method::PUT => create::create(settings, head, body, dialect).await,
            _ => Ok(method_not_allowed("POST, PUT, OPTIONS")),
        };
    }
    if !matches!(head.method, Method::HEAD | Method::PATCH | Method::DELETE) {
        return Ok(method_not_allowed("HEAD, PATCH, DELETE, OPTIONS"));
    }
    let token = token(settings, path)?;
    match head.method {
        Method::HEAD => {
            let loaded = settings.engine.current(token.id.clone()).await?;
            Ok(respond::description(&loaded.state, &token, dialect))
        }
        Method::DELETE => {
            settings.engine.terminate(token.id.clone()).await?;
            Ok(tus::empty(StatusCode::NO_CONTENT))
        }
        _ => append::append(settings, &token, &head, body, dialect).await,
    }
}

/// Returns the token in a path. One that is forged does not exist, and one that is expired did.
fn token(settings: &Settings, path: &str) -> Result<Token, Problem> {
    let token = Token::verify(&settings.signing_key, path)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "There is no such upload."))?;
    if token.is_expired() {
        return Err(Problem::new(StatusCode::GONE, "The upload has expired."));
    }
    Ok(token)
}

/// Returns the URL of an upload.
pub(super) fn location(settings: &Settings, token: &Token) -> Result<HeaderValue, Problem> {
    settings.location(token).map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The mount path is malformed.")
    })
}
