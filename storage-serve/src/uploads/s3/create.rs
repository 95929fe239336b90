//! POST `multipart`: begins an upload in parts.

use http::Response;
use http::request::Parts;
use serde::Serialize;

use super::respond::{self, Failed};
use super::ticket::{Kind, Ticket};
use super::{origin, request};
use crate::body::ResponseBody;
use crate::request_body::RequestBody;
use crate::uploads::admission::{self, Admitted};
use crate::uploads::settings::Settings;

/// The largest number of parts that the plugin makes.
const MAX_PARTS: u64 = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Begun<'a> {
    key: &'a str,
    upload_id: String,
    /// The client passes it on to the page. The name of the bucket does not concern it.
    bucket: &'static str,
}

pub(super) async fn create<B: RequestBody>(
    settings: &Settings,
    head: Parts,
    body: B,
) -> Result<Response<ResponseBody>, Failed> {
    // Fails before the upload begins, and not when the client asks for the first part.
    origin::url(settings, &head, "")?;
    let wanted = request::wanted_by_body(&head, body, settings.engine.idle_timeout).await?;
    let part_size = part_size(settings, wanted.size);
    let Admitted { beginning, .. } = admission::admit(settings, head, wanted).await?;
    let loaded = settings.engine.begin_direct(beginning, part_size).await?;
    Ok(respond::json(&Begun {
        key: loaded.state.key.as_str(),
        upload_id: Ticket::sign(Kind::Parts, &settings.signing_key, &loaded.id),
        bucket: "",
    }))
}

/// Returns the size of the parts that the plugin makes.
fn part_size(settings: &Settings, size: Option<u64>) -> u64 {
    let for_size = size.map_or(0, |size| size.div_ceil(MAX_PARTS));
    settings.s3.client_part_size.max(for_size)
}
