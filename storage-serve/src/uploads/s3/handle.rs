//! Which request does what.

use http::request::Parts;
use http::{Method, Response};

use super::lookup::{Denied, upload};
use super::respond::{self, Failed};
use super::{complete, create, file, part, parts};
use crate::body::ResponseBody;
use crate::request_body::RequestBody;
use crate::uploads::settings::Settings;

/// The paths below that of the service that belong to these routes.
pub(in crate::uploads) const PREFIX: &str = "s3/";

/// Returns whether a request begins an upload without a header for which a browser would ask.
pub(in crate::uploads) fn is_begun_by_get(head: &Parts, path: &str) -> bool {
    head.method == Method::GET && path.strip_prefix(PREFIX) == Some("params")
}

/// Handles a request with this path below that of the service.
pub(in crate::uploads) async fn handle<B: RequestBody>(
    settings: &Settings,
    path: &str,
    head: Parts,
    body: B,
) -> Response<ResponseBody> {
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    let segments: Vec<_> = path.split('/').collect();
    match *segments {
        ["part", ticket] => receive_part(settings, ticket, &head, body).await,
        ["file", ticket] => receive_file(settings, ticket, head, body).await,
        _ => route(settings, &segments, head, body).await.unwrap_or_else(Failed::json),
    }
}

async fn receive_part<B: RequestBody>(
    settings: &Settings,
    ticket: &str,
    head: &Parts,
    body: B,
) -> Response<ResponseBody> {
    if head.method != Method::PUT {
        return Failed::not_allowed("PUT, OPTIONS").xml();
    }
    part::receive(settings, ticket, head, body).await.unwrap_or_else(Failed::xml)
}

async fn receive_file<B: RequestBody>(
    settings: &Settings,
    ticket: &str,
    head: Parts,
    body: B,
) -> Response<ResponseBody> {
    if !matches!(head.method, Method::POST | Method::PUT) {
        return Failed::not_allowed("POST, PUT, OPTIONS").xml();
    }
    file::receive(settings, ticket, head, body).await.unwrap_or_else(Failed::xml)
}

async fn route<B: RequestBody>(
    settings: &Settings,
    segments: &[&str],
    head: Parts,
    body: B,
) -> Result<Response<ResponseBody>, Failed> {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    match *segments {
        ["params"] if head.method == get => file::offer(settings, head).await,
        ["multipart"] if head.method == post => create::create(settings, head, body).await,
        ["multipart", id, "complete"] if head.method == post => {
            complete::complete(settings, id, &head, body).await
        }
        ["multipart", id] if head.method == get => parts::list(settings, id, &head).await,
        ["multipart", id] if head.method == delete => abort(settings, id, &head).await,
        ["multipart", _, "complete"] => Err(Failed::not_allowed("POST, OPTIONS")),
        ["multipart", id, number] if head.method == get => {
            parts::link(settings, id, number, &head).await
        }
        ["params"] => Err(Failed::not_allowed("GET, OPTIONS")),
        ["multipart"] => Err(Failed::not_allowed("POST, OPTIONS")),
        ["multipart", _] => Err(Failed::not_allowed("GET, DELETE, OPTIONS")),
        ["multipart", _, _] => Err(Failed::not_allowed("GET, OPTIONS")),
        ["sts"] => Err(Failed::bad(
            "The server issues no credentials: remove getTemporarySecurityCredentials.".to_owned(),
        )),
        _ => Err(Failed::no_such_upload()),
    }
}

/// Removes an upload. Succeeds if there is none, so that it can be repeated.
async fn abort(
    settings: &Settings,
    id: &str,
    head: &Parts,
) -> Result<Response<ResponseBody>, Failed> {
    let removed = match upload(settings, id, head).await {
        Ok(loaded) => settings.engine.terminate(loaded.id).await.map_err(Failed::from),
        Err(Denied::Failed(failed)) => return Err(failed),
        Err(Denied::Gone) => Ok(()),
    };
    removed?;
    Ok(respond::json(&serde_json::Map::new()))
}
