//! POST or PUT: begins an upload with the draft, or receives a whole file without its headers.

use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode};

use super::digest::{self, Digest};
use super::fields::{Dialect, Fields, is_of_draft};
use super::handle::location;
use super::problem::Problem;
use super::respond;
use crate::body::ResponseBody;
use crate::file_name::suggested_name;
use crate::request_body::RequestBody;
use crate::uploads::admission::{self, Admitted};
use crate::uploads::engine::{Append, Beginning, End, Engine, Failure, Loaded};
use crate::uploads::grant::UploadRequest;
use crate::uploads::settings::Settings;
use crate::uploads::tus::{self, chunks};

pub(super) async fn create<B: RequestBody>(
    settings: &Settings,
    head: Parts,
    body: B,
    dialect: Dialect,
) -> Result<Response<ResponseBody>, Problem> {
    reject_what_is_no_file(&head.headers)?;
    let is_plain = !is_of_draft(&head.headers);
    let fields = Fields::read(&head.headers, dialect)?;
    let is_last = fields.is_complete.unwrap_or(true);
    let length = fields.length(0, is_last)?;
    let digest = digest::read(&head.headers, is_last)?;
    let checksum = digest.as_ref().map(Digest::checksum).transpose()?;
    let wanted = wanted(&head.headers, length)?;
    let Admitted { beginning, token } = admission::admit(settings, head, wanted).await?;
    let beginning = Beginning { has_explicit_end: true, ..beginning };
    let location = location(settings, &token)?;
    let request = (is_last || !body.is_end_stream()).then(|| Append {
        id: token.id.clone(),
        offset: 0,
        end: if is_last { End::WithBody(length) } else { End::Later(length) },
        body_size: fields.body_size,
        checksum,
        body: chunks(body),
    });
    let loaded = match begin(&settings.engine, beginning, request).await {
        Ok(loaded) => loaded,
        Err(failure) => return Err(digest::problem(failure, digest.as_ref())),
    };
    let mut response = respond::progress(StatusCode::CREATED, &loaded.state, &token, dialect);
    response.headers_mut().insert(LOCATION, location);
    if is_plain {
        respond::remove_protocol(response.headers_mut());
    }
    Ok(response)
}

/// Begins an upload, and appends the body.
async fn begin(
    engine: &Engine,
    beginning: Beginning,
    request: Option<Append>,
) -> Result<Loaded, Failure> {
    engine
        .detached(|engine| async move {
            let begun = engine.begin(beginning).await?;
            match request {
                Some(request) => append(&engine, request).await,
                None => Ok(begun),
            }
        })
        .await
}

async fn append(engine: &Engine, request: Append) -> Result<Loaded, Failure> {
    let (id, continues) = (request.id.clone(), matches!(request.end, End::Later(_)));
    let failure = match engine.append(request).await {
        Ok(loaded) => return Ok(loaded),
        Err(failure) => failure,
    };
    // The client continues where the upload ends.
    if continues && !tus::is_final(&failure) && !matches!(failure, Failure::BrokeOff) {
        tracing::debug!(?failure, "the first bytes of an upload are not all stored");
        return engine.load(&id).await;
    }
    // The client has no URL, so it can neither continue nor remove the upload.
    engine.give_up(id, failure).await
}

/// Returns what the client wants to upload.
///
/// The draft has a name and a type. `tus-js-client` also sends the metadata of tus with the draft,
/// and the type of a PATCH with the first bytes.
fn wanted(headers: &HeaderMap, size: Option<u64>) -> Result<UploadRequest, Problem> {
    let content_type = match headers.get(CONTENT_TYPE) {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| Problem::bad("Content-Type is not ASCII."))?;
            let text = text.trim();
            let is_type = !text.is_empty() && !text.eq_ignore_ascii_case(respond::PARTIAL);
            is_type.then(|| text.to_owned())
        }
    };
    let (mut wanted, _) = tus::read_metadata(headers, size)?;
    wanted.file_name = suggested_name(headers).or(wanted.file_name);
    wanted.content_type = content_type.or(wanted.content_type);
    Ok(wanted)
}

/// Rejects bodies that are not the bytes of a file: those with a range (RFC 9110 section 14.5),
/// those with an encoding, which would get lost, and forms.
pub(super) fn reject_what_is_no_file(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::bad("Content-Range is not supported. Send Upload-Complete: ?0."));
    }
    let unsupported = |title| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, title));
    if headers.contains_key(CONTENT_ENCODING) {
        return unsupported("Content-Encoding is not supported.");
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let forms = [&b"application/x-www-form-urlencoded"[..], b"multipart/form-data"];
    if forms.iter().any(|form| kind.eq_ignore_ascii_case(form)) {
        return unsupported("A form is not supported here. Send the bytes of the file.");
    }
    Ok(())
}
