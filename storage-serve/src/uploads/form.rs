//! A form with files (`multipart/form-data`, RFC 7578), for clients without scripts.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode};
use serde::Serialize;
use storage_core::ErrorKind;

use super::admission::{self, Admitted};
use super::engine::Failure;
use super::grant::UploadRequest;
use super::settings::Settings;
use super::tus::{self, Rejection};
use crate::body::ResponseBody;
use crate::errors::text_response;
use crate::form::{UploadField, UploadForm};
use crate::request_body::{BoxError, RequestBody};

/// The longest text of a form, in bytes.
const MAX_TEXT: u64 = 8 << 10;
/// The largest size of all texts of a form together, in bytes.
const MAX_TEXTS: usize = 64 << 10;

/// What became of one file of a form.
#[derive(Debug, Serialize)]
struct Outcome {
    /// The name of its field.
    field: String,
    /// The name of the file, as the client sent it.
    name: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Returns whether a request contains such a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// Stores every file of a form as an upload of its own.
pub(super) async fn receive<B: RequestBody>(
    settings: &Settings,
    head: Parts,
    body: B,
) -> Response<ResponseBody> {
    try_receive(settings, head, body).await.unwrap_or_else(Rejection::response)
}

async fn try_receive<B: RequestBody>(
    settings: &Settings,
    head: Parts,
    body: B,
) -> Result<Response<ResponseBody>, Rejection> {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = UploadForm::new(content_type.unwrap_or_default(), tus::chunks(body));
    let form = form.map_err(|_| Rejection::bad("The body is no form with files.\n".to_owned()))?;
    let wants_json = wants_json(&head.headers);
    let redirect = settings.form_redirect.clone();
    let settings = settings.clone();
    // Goes on if the client disconnects, so that nothing remains of a file that broke off.
    let task = tokio::spawn(async move { Receiving::new(&settings, head).all(form).await });
    let (outcomes, end) = task.await.map_err(|join| {
        Failure::Storage(storage_core::Error::unexpected("a form's task did not finish", join))
    })?;
    let refused = outcomes.iter().find(|outcome| outcome.status >= 400);
    let refused = refused.and_then(|outcome| StatusCode::from_u16(outcome.status).ok());
    let status = end.as_ref().err().map(|rejection| rejection.status).or(refused);
    let text = end.err().map(|rejection| rejection.text);
    match (status, redirect) {
        (None, Some(redirect)) => Ok(redirected(redirect)),
        (status, _) => {
            let status = status.unwrap_or(StatusCode::CREATED);
            Ok(listed(status, &outcomes, text, wants_json))
        }
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.to_ascii_lowercase().contains("application/json")
}

fn redirected(location: HeaderValue) -> Response<ResponseBody> {
    let mut response = text_response(StatusCode::SEE_OTHER, "The files are stored.\n");
    response.headers_mut().insert(LOCATION, location);
    response
}

/// Returns a response that lists the files.
fn listed(
    status: StatusCode,
    outcomes: &[Outcome],
    failure: Option<String>,
    wants_json: bool,
) -> Response<ResponseBody> {
    #[derive(Serialize)]
    struct List<'a> {
        files: &'a [Outcome],
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    }
    let mut response = text_response(status, "");
    let text = if wants_json {
        let value = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, value);
        let message = failure.as_deref().map(str::trim_end);
        serde_json::to_string(&List { files: outcomes, message }).unwrap_or_default()
    } else {
        let line = |outcome: &Outcome| {
            let name: String = outcome.name.chars().filter(|c| !c.is_control()).collect();
            format!("{name}: {}\n", outcome.message.as_deref().unwrap_or("stored"))
        };
        outcomes.iter().map(line).chain(failure).collect()
    };
    *response.body_mut() = ResponseBody::bytes(Bytes::from(text));
    response
}

/// The work on one form.
struct Receiving<'a> {
    settings: &'a Settings,
    head: Parts,
    /// The texts of the form so far, which are the metadata of the files after them.
    texts: BTreeMap<String, String>,
    texts_size: usize,
    outcomes: Vec<Outcome>,
}

impl<'a> Receiving<'a> {
    fn new(settings: &'a Settings, head: Parts) -> Self {
        Self { settings, head, texts: BTreeMap::new(), texts_size: 0, outcomes: Vec::new() }
    }

    /// Reads the form to its end, or to the failure that ends it.
    async fn all(mut self, form: UploadForm) -> (Vec<Outcome>, Result<(), Rejection>) {
        let mut end = self.read(form).await;
        if end.is_ok() && self.outcomes.is_empty() {
            end = Err(Rejection::bad("The form contains no file.\n".to_owned()));
        }
        (self.outcomes, end)
    }

    async fn read(&mut self, mut form: UploadForm) -> Result<(), Rejection> {
        let idle_timeout = self.settings.engine.idle_timeout;
        loop {
            // Also skips the rest of a refused file, which may take longer.
            let field = form.next_field();
            let field = tokio::time::timeout(idle_timeout.saturating_mul(10), field).await;
            let field = field.map_err(|_| Failure::Stalled)?.map_err(|error| {
                tracing::debug!(%error, "a form cannot be read");
                match error.kind() {
                    ErrorKind::TooLarge => Rejection::from(Failure::TooLarge),
                    _ => Rejection::bad("The form cannot be read to its end.\n".to_owned()),
                }
            })?;
            let Some(field) = field else { return Ok(()) };
            match field.is_file() {
                true => self.file(field).await?,
                false => self.text(field).await?,
            }
        }
    }

    async fn text(&mut self, field: UploadField) -> Result<(), Rejection> {
        let name = field.name().to_owned();
        let idle_timeout = self.settings.engine.idle_timeout;
        let text = tokio::time::timeout(idle_timeout, field.text_up_to(MAX_TEXT)).await;
        let text = text.map_err(|_| Failure::Stalled)?.map_err(|error| {
            tracing::debug!(%error, "a text of a form cannot be read");
            Rejection::bad("A text of the form is too large or not UTF-8.\n".to_owned())
        })?;
        self.texts_size = self.texts_size.saturating_add(name.len() + text.len());
        if self.texts_size > MAX_TEXTS {
            return Err(Failure::TooLarge.into());
        }
        self.texts.insert(name, text);
        Ok(())
    }

    /// Stores a file. A refusal of one file does not end the form.
    async fn file(&mut self, file: UploadField) -> Result<(), Rejection> {
        let (field, name) = (file.name().to_owned(), file.file_name().to_owned());
        let (status, message, is_end) = match self.store(file).await {
            Ok(()) => (StatusCode::CREATED, None, false),
            Err((Rejection { status, text }, is_end)) => {
                (status, Some(text.trim_end().to_owned()), is_end)
            }
        };
        let end = is_end.then(|| Rejection::new(status, "The rest of the form was not read.\n"));
        self.outcomes.push(Outcome { field, name, status: status.as_u16(), message });
        end.map_or(Ok(()), Err)
    }

    /// Stores a file, or returns why it is refused and whether that ends the form.
    async fn store(&self, file: UploadField) -> Result<(), (Rejection, bool)> {
        let wanted = UploadRequest {
            file_name: Some(file.file_name().to_owned()),
            size: None,
            content_type: file.content_type().map(str::to_owned),
            metadata: self.texts.clone(),
            is_partial: false,
        };
        let admitted = admission::admit(self.settings, self.head.clone(), wanted).await;
        let Admitted { beginning, .. } = admitted.map_err(|rejection| (rejection, false))?;
        let (engine, id) = (&self.settings.engine, beginning.id.clone());
        engine
            .begin(beginning.with_explicit_end())
            .await
            .map_err(|failure| (failure.into(), true))?;
        let chunks = file.into_stream().map_err(BoxError::from).boxed();
        let Err(failure) = engine.append_whole(&id, chunks).await else { return Ok(()) };
        let Err(failure) = engine.give_up(id, failure).await else { return Ok(()) };
        let is_end = !tus::is_final(&failure);
        Err((failure.into(), is_end))
    }
}
