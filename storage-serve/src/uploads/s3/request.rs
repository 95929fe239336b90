//! Reading the queries and the JSON of these routes. Every value comes from a client.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::respond::Failed;
use crate::request_body::RequestBody;
use crate::uploads::engine::Failure;
use crate::uploads::grant::UploadRequest;
use crate::uploads::tus;

/// The longest description of a file, in bytes.
const MAX_DESCRIPTION: usize = 64 << 10;

/// Returns a parameter of the query.
pub(super) fn parameter(head: &Parts, name: &str) -> Option<String> {
    let query = head.uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

/// Reads what a client wants to upload from the query: `filename`, `type` and `metadata[name]`.
pub(super) fn wanted_by_query(head: &Parts) -> Result<UploadRequest, Failed> {
    let query = head.uri.query().unwrap_or_default();
    if query.len() > MAX_DESCRIPTION {
        return Err(too_large());
    }
    let (mut file_name, mut content_type, mut metadata) = (None, None, BTreeMap::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "filename" => file_name = Some(value.into_owned()),
            "type" => content_type = Some(value.into_owned()),
            name => {
                let name = name.strip_prefix("metadata[").and_then(|name| name.strip_suffix(']'));
                if let Some(name) = name {
                    metadata.insert(name.to_owned(), value.into_owned());
                }
            }
        }
    }
    wanted(file_name, content_type, metadata)
}

/// The body of the request that begins an upload in parts.
#[derive(Debug, Deserialize)]
struct Description {
    filename: Option<String>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    metadata: Option<BTreeMap<String, Value>>,
}

/// Reads what a client wants to upload from the body.
pub(super) async fn wanted_by_body<B: RequestBody>(
    head: &Parts,
    body: B,
    idle_timeout: Duration,
) -> Result<UploadRequest, Failed> {
    let Description { filename, content_type, metadata } =
        json(head, body, MAX_DESCRIPTION, idle_timeout).await?;
    let metadata = metadata.unwrap_or_default().into_iter();
    let metadata = metadata.filter_map(|(name, value)| Some((name, text_of(value)?))).collect();
    wanted(filename, content_type, metadata)
}

/// Returns the text of a value. Uppy sends null for none.
fn text_of(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        value => Some(value.to_string()),
    }
}

fn wanted(
    file_name: Option<String>,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
) -> Result<UploadRequest, Failed> {
    // What scripts make of a value that is missing.
    let given = |text: &String| !matches!(text.as_str(), "" | "null" | "undefined");
    let size = metadata.get("size").filter(|size| given(size)).map(|size| number_of_bytes(size));
    Ok(UploadRequest {
        file_name: file_name.filter(given),
        size: size.transpose()?,
        content_type: content_type.filter(given),
        metadata,
        is_partial: false,
    })
}

fn number_of_bytes(text: &str) -> Result<u64, Failed> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let size = text.parse().ok().filter(|size| is_digits && i64::try_from(*size).is_ok());
    size.ok_or_else(|| Failed::bad("The metadata size is not a number of bytes.".to_owned()))
}

/// Reads a body of JSON that has at most this many bytes.
///
/// Another type is refused, because a page of another site can send JSON with the user's cookies
/// and the type of a form or of a text.
pub(super) async fn json<T: for<'a> Deserialize<'a>, B: RequestBody>(
    head: &Parts,
    body: B,
    max: usize,
    idle_timeout: Duration,
) -> Result<T, Failed> {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        let text = "The Content-Type must be application/json.";
        return Err(Failed::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "InvalidRequest", text));
    }
    let mut chunks = tus::chunks(body);
    let mut text = Vec::new();
    loop {
        let chunk = tokio::time::timeout(idle_timeout, chunks.next()).await;
        let chunk = match chunk.map_err(|_| Failure::Stalled)? {
            Some(chunk) => chunk.map_err(|_| Failure::BrokeOff)?,
            None => break,
        };
        if text.len() + chunk.len() > max {
            return Err(too_large());
        }
        text.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&text).map_err(|cause| {
        tracing::debug!(%cause, "the body of a request is not the JSON that is expected");
        Failed::bad("The body is not the JSON that is expected.".to_owned())
    })
}

fn too_large() -> Failed {
    Failed::new(StatusCode::PAYLOAD_TOO_LARGE, "EntityTooLarge", "The request is too large.")
}
