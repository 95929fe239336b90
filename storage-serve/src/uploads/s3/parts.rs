//! GET `multipart/{id}`: lists parts. GET `multipart/{id}/{number}`: where to send a part.

use std::time::Duration;

use http::Response;
use http::request::Parts;
use serde::Serialize;

use super::lookup::{ticket, upload};
use super::origin;
use super::respond::{self, Failed};
use super::ticket::{PartTicket, expiry};
use crate::body::ResponseBody;
use crate::uploads::settings::Settings;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    part_number: u32,
    size: u64,
    /// In quotes, as S3 lists it.
    #[serde(rename = "ETag")]
    etag: String,
}

pub(super) async fn list(
    settings: &Settings,
    id: &str,
    head: &Parts,
) -> Result<Response<ResponseBody>, Failed> {
    let loaded = upload(settings, id, head).await?;
    let parts = settings.engine.direct_parts(&loaded).await?;
    let stored: Vec<_> = parts
        .into_iter()
        .map(|part| Stored {
            part_number: part.number,
            size: part.size,
            etag: part.etag.to_string(),
        })
        .collect();
    Ok(respond::json(&stored))
}

#[derive(Serialize)]
struct Target {
    url: String,
    /// How long the link works, in seconds.
    expires: u64,
}

pub(super) async fn link(
    settings: &Settings,
    id: &str,
    number: &str,
    head: &Parts,
) -> Result<Response<ResponseBody>, Failed> {
    let number = part_number(number)?;
    let loaded = upload(settings, id, head).await?;
    let left = ticket(settings, id)?.expires.saturating_sub(expiry(Duration::ZERO));
    // A link does not outlive its upload, and works for a second at least.
    let lifetime = settings.s3.part_link_lifetime.as_secs().min(left);
    let expires = lifetime.max(1);
    if settings.s3.is_direct {
        let expires_in = Duration::from_secs(expires);
        if let Some(link) = settings.engine.part_link(&loaded, number, expires_in).await? {
            return Ok(respond::json(&Target { url: link.as_str().to_owned(), expires }));
        }
    }
    let max_size = settings.engine.part_limit(&loaded, number)?;
    let expires_at = expiry(Duration::from_secs(lifetime));
    let ticket = PartTicket { id: loaded.id, number, max_size, expires: expires_at };
    let path = format!("part/{}", ticket.sign(&settings.signing_key));
    Ok(respond::json(&Target { url: origin::url(settings, head, &path)?, expires }))
}

/// Returns the number of a part: digits, which `parse` alone does not require.
fn part_number(text: &str) -> Result<u32, Failed> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_digits && (1..=10_000).contains(number));
    number.ok_or_else(|| Failed::bad("Parts have the numbers 1 to 10000.".to_owned()))
}
