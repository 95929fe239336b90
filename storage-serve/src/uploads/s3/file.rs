//! GET `params`: where to send a small file. POST or PUT `file/{ticket}`: receives it.
//!
//! The file goes through this service on every storage. A form that S3 receives ends without a
//! request to this service, so that nothing would verify the file.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Serialize;
use storage_core::{Error, ErrorKind, Key};

use super::origin::{self, public_url};
use super::request;
use super::respond::{self, Failed, escaped};
use super::ticket::{Kind, Ticket};
use crate::body::ResponseBody;
use crate::form::UploadForm;
use crate::request_body::{BoxError, RequestBody};
use crate::uploads::admission::{self, Admitted};
use crate::uploads::engine::{Failure, Loaded};
use crate::uploads::settings::Settings;
use crate::uploads::tus;

/// The longest text in a form, in bytes: a key has at most 1,024.
const MAX_TEXT: u64 = 4 << 10;

type Chunks = BoxStream<'static, Result<Bytes, BoxError>>;

/// Where to send a file. Version 6 of the plugin accepts forms only, and version 5 too.
#[derive(Serialize)]
struct Target {
    method: &'static str,
    url: String,
    fields: BTreeMap<&'static str, String>,
    /// How long the URL works, in seconds.
    expires: u64,
}

pub(super) async fn offer(
    settings: &Settings,
    head: Parts,
) -> Result<Response<ResponseBody>, Failed> {
    let base = origin::url(settings, &head, "file/")?;
    let wanted = request::wanted_by_query(&head)?;
    let Admitted { beginning, .. } = admission::admit(settings, head, wanted).await?;
    let expires = beginning.grant.lifetime.as_secs();
    let loaded = settings.engine.begin(beginning.with_explicit_end()).await?;
    let fields = BTreeMap::from([
        ("key", loaded.state.key.to_string()),
        ("success_action_status", "201".to_owned()),
    ]);
    Ok(respond::json(&Target {
        method: "POST",
        url: format!("{base}{}", Ticket::sign(Kind::File, &settings.signing_key, &loaded.id)),
        fields,
        expires,
    }))
}

pub(super) async fn receive<B: RequestBody>(
    settings: &Settings,
    ticket: &str,
    head: Parts,
    body: B,
) -> Result<Response<ResponseBody>, Failed> {
    let ticket = Ticket::verify(Kind::File, &settings.signing_key, ticket);
    let ticket = ticket.ok_or_else(Failed::no_such_upload)?;
    if ticket.is_expired() {
        return Err(Failed::expired_link());
    }
    let (settings, chunks) = (settings.clone(), tus::chunks(body));
    // Goes on if the client disconnects, so that a refused file is removed.
    let task = tokio::spawn(async move { store(&settings, &ticket.id, &head, chunks).await });
    task.await.map_err(|join| Error::unexpected("an upload's task did not finish", join))?
}

async fn store(
    settings: &Settings,
    id: &str,
    head: &Parts,
    chunks: Chunks,
) -> Result<Response<ResponseBody>, Failed> {
    let loaded = settings.engine.current(id.to_owned()).await?;
    let mut form = None;
    let file = match head.method {
        Method::PUT => chunks,
        _ => file_of_form(settings, head, chunks, &loaded.state.key, &mut form).await?,
    };
    let stored = receive_file(settings, loaded, file).await?;
    if let Some(mut form) = form {
        // Reads the end of the form, so that the client gets the response.
        let _ = tokio::time::timeout(settings.engine.idle_timeout, form.next_field()).await;
    }
    Ok(respond_stored(settings, head, &stored.state.key).await)
}

/// Returns the file of a form, which comes after the texts.
async fn file_of_form(
    settings: &Settings,
    head: &Parts,
    chunks: Chunks,
    key: &Key,
    form: &mut Option<UploadForm>,
) -> Result<Chunks, Failed> {
    let idle_timeout = settings.engine.idle_timeout;
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let new = UploadForm::new(content_type.unwrap_or_default(), chunks);
    let form = form.insert(new.map_err(|_| Failed::bad("The body is no form.".to_owned()))?);
    loop {
        let field = tokio::time::timeout(idle_timeout, form.next_field()).await;
        let field = field.map_err(|_| Failure::Stalled)?.map_err(|error| unreadable(&error))?;
        let Some(field) = field else {
            return Err(Failed::bad("The form has no field file.".to_owned()));
        };
        if field.is_file() {
            return Ok(field.into_stream().map_err(BoxError::from).boxed());
        }
        let is_key = field.name().eq_ignore_ascii_case("key");
        let text = tokio::time::timeout(idle_timeout, field.text_up_to(MAX_TEXT)).await;
        let text = text.map_err(|_| Failure::Stalled)?.map_err(|error| unreadable(&error))?;
        if is_key && text != key.as_str() {
            let text = "The form is for another key.";
            return Err(Failed::new(StatusCode::FORBIDDEN, "AccessDenied", text));
        }
    }
}

fn unreadable(error: &Error) -> Failed {
    tracing::debug!(%error, "a form cannot be read");
    match error.kind() {
        ErrorKind::TooLarge => Failed::bad("A field of the form is too large.".to_owned()),
        _ => Failed::bad("The form cannot be read.".to_owned()),
    }
}

/// Stores a file, or verifies that it was stored by an earlier request.
async fn receive_file(settings: &Settings, loaded: Loaded, file: Chunks) -> Result<Loaded, Failed> {
    let engine = &settings.engine;
    let offset = loaded.state.offset();
    if loaded.state.has_all_bytes() {
        // The response to that request was lost.
        return match size_of(settings, file, offset).await? == offset {
            true => Ok(loaded),
            false => Err(Failed::new(
                StatusCode::CONFLICT,
                "OperationAborted",
                "Another file was uploaded with this link.",
            )),
        };
    }
    let loaded = if offset == 0 { loaded } else { engine.restart(loaded.id).await? };
    match engine.append_whole(&loaded.id, file).await {
        Ok(stored) => Ok(stored),
        Err(failure) => {
            // Other failures end when the client sends the file again.
            let is_final = matches!(failure, Failure::WrongLength) || tus::is_final(&failure);
            if is_final && let Err(failure) = engine.terminate(loaded.id).await {
                tracing::warn!(?failure, "a refused upload could not be removed");
            }
            Err(failure.into())
        }
    }
}

/// Returns the size of a file, or some size beyond `max`.
async fn size_of(settings: &Settings, mut file: Chunks, max: u64) -> Result<u64, Failure> {
    let mut size: u64 = 0;
    while size <= max {
        match tokio::time::timeout(settings.engine.idle_timeout, file.next()).await {
            Err(_) => return Err(Failure::Stalled),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Failure::BrokeOff),
            Ok(Some(Ok(chunk))) => size = size.saturating_add(chunk.len() as u64),
        }
    }
    Ok(size)
}

async fn respond_stored(settings: &Settings, head: &Parts, key: &Key) -> Response<ResponseBody> {
    // Version 5 of the plugin waits forever without an ETag. The file may be removed by now.
    let meta = settings.engine.storage.stat(key).await.ok();
    let etag = meta.and_then(|meta| meta.etag).map(|etag| etag.to_string());
    let etag = etag.unwrap_or_else(|| "\"stored\"".to_owned());
    let location = public_url(settings, key).await;
    let mut response = match head.method {
        Method::PUT => Response::new(ResponseBody::empty()),
        _ => respond::xml(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location>\
             <Bucket></Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
            escaped(location.as_deref().unwrap_or_default()),
            escaped(key.as_str()),
            escaped(&etag)
        )),
    };
    if head.method == Method::POST {
        *response.status_mut() = StatusCode::CREATED;
    }
    // Version 5 of the plugin shows a warning without it.
    let location = location.or_else(|| origin::url(settings, head, "file").ok());
    for (name, value) in [(ETAG, Some(etag)), (LOCATION, location)] {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
