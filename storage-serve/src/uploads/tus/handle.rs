//! Which request does what.

use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::respond::{self, RESUMABLE, Rejection};
use super::{append, create, headers};
use crate::body::ResponseBody;
use crate::errors::method_not_allowed;
use crate::request_body::RequestBody;
use crate::uploads::engine::ALGORITHMS;
use crate::uploads::settings::Settings;
use crate::uploads::token::Token;

const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,termination,\
                          checksum,expiration,concatenation";
const VERSION: HeaderName = HeaderName::from_static("tus-version");

/// Handles a request with this path below that of the service. Every response contains the version
/// of the protocol.
pub(in crate::uploads) async fn handle<B: RequestBody>(
    settings: &Settings,
    path: &str,
    mut head: Parts,
    body: B,
) -> Response<ResponseBody> {
    let response = match override_method(&mut head) {
        Ok(()) => dispatch(settings, path, head, body).await,
        Err(rejection) => Err(rejection),
    };
    respond::finish(response.unwrap_or_else(Rejection::response))
}

/// Replaces the method by that of `X-HTTP-Method-Override`, for clients behind proxies that pass
/// only GET and POST.
fn override_method(head: &mut Parts) -> Result<(), Rejection> {
    let Some(method) = headers::one(&head.headers, "x-http-method-override")? else {
        return Ok(());
    };
    // A form of another site can send a POST, but not this header.
    let method = Method::from_bytes(method.as_bytes()).ok();
    head.method = method.filter(|_| head.method == Method::POST).ok_or_else(|| {
        Rejection::bad("X-HTTP-Method-Override must be a method, in a POST.\n".to_owned())
    })?;
    Ok(())
}

async fn dispatch<B: RequestBody>(
    settings: &Settings,
    segment: &str,
    head: Parts,
    body: B,
) -> Result<Response<ResponseBody>, Rejection> {
    let allowed = if segment.is_empty() { "POST, OPTIONS" } else { "HEAD, PATCH, DELETE, OPTIONS" };
    let is_allowed = match head.method {
        Method::POST => segment.is_empty(),
        Method::HEAD | Method::PATCH | Method::DELETE => !segment.is_empty(),
        _ => false,
    };
    if !is_allowed {
        return Ok(method_not_allowed(allowed));
    }
    if headers::one(&head.headers, "tus-resumable")? != Some(headers::VERSION) {
        return Ok(wrong_version());
    }
    if segment.is_empty() {
        return create::create(settings, head, body).await;
    }
    let token = token(settings, segment)?;
    match head.method {
        Method::HEAD => {
            let loaded = settings.engine.current(token.id.clone()).await;
            let loaded = loaded.map_err(respond::of_head)?;
            Ok(respond::description(&loaded.state, &token))
        }
        Method::DELETE => {
            settings.engine.terminate(token.id.clone()).await?;
            Ok(respond::empty(StatusCode::NO_CONTENT))
        }
        _ => append::append(settings, &token, &head, body).await,
    }
}

/// Returns the token in a path. One that is forged does not exist, and one that is expired did.
fn token(settings: &Settings, segment: &str) -> Result<Token, Rejection> {
    let token = Token::verify(&settings.signing_key, segment)
        .ok_or_else(|| Rejection::new(StatusCode::NOT_FOUND, "There is no such upload.\n"))?;
    if token.is_expired() {
        return Err(Rejection::new(StatusCode::GONE, "The upload has expired.\n"));
    }
    Ok(token)
}

fn wrong_version() -> Response<ResponseBody> {
    let text = "The server supports version 1.0.0 of tus.\n";
    let mut response = Rejection::new(StatusCode::PRECONDITION_FAILED, text).response();
    response.headers_mut().insert(VERSION, HeaderValue::from_static(headers::VERSION));
    response
}

/// Adds what the server supports to the response to OPTIONS.
pub(in crate::uploads) fn describe(settings: &Settings, response: &mut HeaderMap) {
    response.insert(RESUMABLE, HeaderValue::from_static(headers::VERSION));
    response.insert(VERSION, HeaderValue::from_static(headers::VERSION));
    response.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    response.insert("tus-checksum-algorithm", HeaderValue::from_static(ALGORITHMS));
    if let Some(max) = settings.max_size {
        response.insert("tus-max-size", HeaderValue::from(max));
    }
}
