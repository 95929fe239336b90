//! Filling the cache ahead of requests: `POST /prefetch/<key>` and `GET /prefetch?prefix=`.

use std::time::Duration;

use http::{Method, Response, StatusCode};
use serde_json::json;
use storage_core::{Entry, Key, Result, Storage};
use storage_serve::internal::{is_upload_state, text_response};
use storage_serve::{ResponseBody, error_response};

use super::responses;
use crate::engine::{Engine, FillOutcome};

/// The maximum number of keys in one response.
const MAX_KEYS: usize = 1000;
/// The maximum time that a response waits for a fetch.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Starts a fetch if the object is not cached. Responds with whether it is available, and whether
/// it is being fetched.
///
/// With `?wait=SECONDS`, responds when the fetch has ended or this time is over. Then `reason`
/// states why an object is not available.
pub(super) async fn prefetch(engine: &Engine, key: &Key, query: &str) -> Response<ResponseBody> {
    match wait(query) {
        Ok(None) => {
            engine.forget_missing(key);
            let available = engine.is_ready(key).await;
            let fetching = engine.is_fetching(key);
            let document = json!({ "available": available, "fetching": fetching });
            responses::json(StatusCode::ACCEPTED, &document)
        }
        Ok(Some(wait)) => match tokio::time::timeout(wait, engine.fill(key)).await {
            Ok(filled) => responses::json(StatusCode::OK, &document(filled)),
            Err(_) => {
                let document = json!({ "available": false, "fetching": true });
                responses::json(StatusCode::ACCEPTED, &document)
            }
        },
        Err(NotSeconds) => {
            text_response(StatusCode::BAD_REQUEST, "Write 1 to 60 seconds: ?wait=30.\n")
        }
    }
}

fn document(filled: FillOutcome) -> serde_json::Value {
    let reason = match filled {
        FillOutcome::Cached => return json!({ "available": true, "fetching": false }),
        FillOutcome::NotCached(reason) => reason.to_owned(),
        FillOutcome::Missing => "origin has no such object".to_owned(),
        FillOutcome::Failed(kind) => format!("origin failed: {kind}"),
    };
    json!({ "available": false, "fetching": false, "reason": reason })
}

/// Responds with the keys of origin that begin with `prefix` and sort after `after`: at most 1,000.
/// `next` is the `after` of the next request, or `null` at the end. `skipped` counts names that are
/// not valid keys, and directories that cannot be read.
pub(super) async fn keys(origin: &Storage, query: &str) -> Response<ResponseBody> {
    match list(origin, query).await {
        Ok(document) => responses::json(StatusCode::OK, &document),
        Err(error) => error_response(&Method::GET, &error),
    }
}

async fn list(origin: &Storage, query: &str) -> Result<serde_json::Value> {
    let mut list = origin.list(parameter(query, "prefix").unwrap_or_default());
    if let Some(after) = parameter(query, "after") {
        list = list.start_after(after);
    }
    let mut entries = list.entries();
    let (mut keys, mut skipped) = (Vec::new(), 0_u64);
    let mut next = None;
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(Entry::Object(object)) if !is_upload_state(object.key.as_str()) => {
                keys.push(object.key);
            }
            Ok(_) => {}
            Err(error) if error.listing_continues() => skipped += 1,
            Err(error) => return Err(error),
        }
        if keys.len() == MAX_KEYS {
            next = keys.last().cloned();
            break;
        }
    }
    Ok(json!({ "keys": keys, "next": next, "skipped": skipped }))
}

/// The value of `wait` is not a number of seconds between 1 and 60.
struct NotSeconds;

/// Returns the value of `wait`.
fn wait(query: &str) -> std::result::Result<Option<Duration>, NotSeconds> {
    let Some(text) = parameter(query, "wait") else { return Ok(None) };
    let wait = text.parse().ok().map(Duration::from_secs);
    wait.filter(|wait| !wait.is_zero() && *wait <= MAX_WAIT).map(Some).ok_or(NotSeconds)
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}
