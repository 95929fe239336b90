//! POST `multipart/{id}/complete`: completes an upload.

use http::Response;
use http::request::Parts;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::lookup::upload;
use super::origin::public_url;
use super::request;
use super::respond::{self, Failed};
use crate::body::ResponseBody;
use crate::request_body::RequestBody;
use crate::uploads::engine::NamedPart;
use crate::uploads::settings::Settings;

/// The longest body, in bytes: 10,000 parts have about 700 KB.
const MAX_BODY: usize = 1 << 20;
/// The largest number of parts.
const MAX_PARTS: usize = 10_000;

#[derive(Debug, Deserialize)]
struct Completion {
    parts: Vec<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    #[serde(deserialize_with = "number")]
    part_number: u32,
    /// With or without quotes: the plugin has it of a list, or of a header.
    #[serde(rename = "ETag")]
    etag: String,
}

#[derive(Serialize)]
struct Completed<'a> {
    /// The public URL of the object, if it has one.
    location: Option<String>,
    key: &'a str,
    bucket: &'static str,
}

pub(super) async fn complete<B: RequestBody>(
    settings: &Settings,
    id: &str,
    head: &Parts,
    body: B,
) -> Result<Response<ResponseBody>, Failed> {
    let loaded = upload(settings, id, head).await?;
    let completion: Completion =
        request::json(head, body, MAX_BODY, settings.engine.idle_timeout).await?;
    if completion.parts.len() > MAX_PARTS {
        return Err(Failed::bad(format!("There are more than {MAX_PARTS} parts.")));
    }
    let mut named: Vec<_> = completion
        .parts
        .into_iter()
        .map(|part| NamedPart { number: part.part_number, etag: opaque(&part.etag).to_owned() })
        .collect();
    named.sort_by_key(|part| part.number);
    let completed = settings.engine.complete_direct(loaded.id, named).await?;
    let key = &completed.state.key;
    Ok(respond::json(&Completed {
        location: public_url(settings, key).await,
        key: key.as_str(),
        bucket: "",
    }))
}

/// Returns an ETag without quotes.
fn opaque(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// Reads the number of a part, which some clients send as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| de::Error::custom("PartNumber is not a number"))
}
