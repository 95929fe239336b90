//! POST: begins an upload, and may contain its first bytes.

use http::header::LOCATION;
use http::request::Parts;
use http::{Response, StatusCode};

use super::concat::{self, Role};
use super::respond::{self, Rejection};
use super::{append, checksum, headers, metadata};
use crate::body::ResponseBody;
use crate::request_body::RequestBody;
use crate::uploads::admission::{self, Admitted};
use crate::uploads::engine::{Beginning, Failure, Loaded, Partial};
use crate::uploads::settings::Settings;
use crate::uploads::token::Token;

pub(super) async fn create<B: RequestBody>(
    settings: &Settings,
    head: Parts,
    body: B,
) -> Result<Response<ResponseBody>, Rejection> {
    let role = concat::read(settings, &head.headers)?;
    if let Role::Final { ids, .. } = &role {
        let partials = partials(settings, ids).await?;
        return create_final(settings, head, role, partials).await;
    }
    let size = headers::length_or_deferred(&head.headers)?;
    let body_size = headers::content_length(&head.headers)?;
    let has_body = append::has_type(&head.headers);
    let checksum = checksum::read(&head.headers)?.filter(|_| has_body);
    let (token, beginning) = authorize(settings, head, size, &role).await?;
    let mut loaded = match settings.engine.begin(beginning).await {
        Ok(loaded) => loaded,
        // An empty upload is completed at once. The client does not get the URL of one that failed.
        Err(failure) => settings.engine.give_up(token.id.clone(), failure).await?,
    };
    if has_body && size != Some(0) {
        let body = append::Body { offset: 0, length: None, size: body_size, checksum, body };
        // The upload exists, so the client needs its URL, whatever becomes of the body.
        loaded = match append::run(settings, &token, body).await {
            Ok(loaded) => loaded,
            Err(failure) if is_final(&failure) => {
                // The client does not get the URL, so it cannot remove the upload.
                if let Err(failure) = settings.engine.terminate(token.id.clone()).await {
                    tracing::warn!(?failure, "a refused upload could not be removed");
                }
                return Err(failure.into());
            }
            Err(failure) => {
                tracing::debug!(?failure, "the first bytes of an upload are not all stored");
                settings.engine.load(&token.id).await?
            }
        };
    }
    created(settings, &loaded, &token)
}

/// Begins an upload of the bytes of others, and stores them.
async fn create_final(
    settings: &Settings,
    head: Parts,
    role: Role,
    partials: Vec<Partial>,
) -> Result<Response<ResponseBody>, Rejection> {
    if head.headers.contains_key("upload-length") {
        let text = "The length of a final upload is that of its parts: omit Upload-Length.\n";
        return Err(Rejection::bad(text.to_owned()));
    }
    let size = partials.iter().try_fold(0_u64, |sum, partial| sum.checked_add(partial.size));
    let (token, beginning) = authorize(settings, head, size, &role).await?;
    let loaded = settings.engine.concatenate(beginning, partials).await?;
    created(settings, &loaded, &token)
}

async fn partials(settings: &Settings, ids: &[String]) -> Result<Vec<Partial>, Rejection> {
    let mut partials = Vec::new();
    for id in ids {
        let partial = settings.engine.partial(id).await?.ok_or_else(|| {
            let text = "Upload-Concat names an upload that is not partial, or not complete.\n";
            Rejection::bad(text.to_owned())
        })?;
        partials.push(partial);
    }
    Ok(partials)
}

/// Asks the application for a grant, and applies it.
async fn authorize(
    settings: &Settings,
    head: Parts,
    size: Option<u64>,
    role: &Role,
) -> Result<(Token, Beginning), Rejection> {
    let (mut wanted, sent_metadata) = metadata::read(&head.headers, size)?;
    wanted.is_partial = *role == Role::Partial;
    // The application gets the names that the client sent.
    let metadata = wanted.metadata.clone();
    let Admitted { beginning, token } = admission::admit(settings, head, wanted).await?;
    let beginning = Beginning { metadata, sent_metadata, concat: role.concat(), ..beginning };
    Ok((token, beginning))
}

fn created(
    settings: &Settings,
    loaded: &Loaded,
    token: &Token,
) -> Result<Response<ResponseBody>, Rejection> {
    let mut response = respond::progress(StatusCode::CREATED, &loaded.state, token);
    let location = settings.location(token).map_err(|_| {
        Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "The mount path is malformed.\n")
    })?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Returns whether a failure of the first bytes leaves nothing that the client can continue.
pub(in crate::uploads) fn is_final(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(refusal) => refusal.status.is_client_error(),
        Failure::TooLarge | Failure::WrongChecksum | Failure::Rejected(_) | Failure::Gone => true,
        _ => false,
    }
}
