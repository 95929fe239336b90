//! [`admit`]: what the application and the settings of the service allow a client.

use std::collections::BTreeMap;

use http::StatusCode;
use http::request::Parts;

use super::engine::{Beginning, Failure};
use super::grant::{Grant, UploadRequest};
use super::settings::Settings;
use super::token::Token;
use super::tus::Rejection;

/// An upload that may begin.
pub(super) struct Admitted {
    pub(super) beginning: Beginning,
    pub(super) token: Token,
}

/// Asks the application about an upload, and applies its limits and those of the service.
pub(super) async fn admit(
    settings: &Settings,
    head: Parts,
    wanted: UploadRequest,
) -> Result<Admitted, Rejection> {
    let (size, declared) = (wanted.size, wanted.content_type.clone());
    let is_partial = wanted.is_partial;
    if settings.max_size.zip(size).is_some_and(|(max, size)| size > max) {
        return Err(Failure::TooLarge.into());
    }
    let metadata = metadata(&wanted);
    let mut grant = (settings.authorize)(head, wanted).await?;
    if is_partial {
        // The type is that of the whole file, which is compared with the last request.
        grant.types.clear();
    }
    let grant = restrict(grant, declared, settings)?;
    let token = Token::new(grant.lifetime).map_err(Failure::Storage)?;
    let beginning = Beginning {
        id: token.id.clone(),
        grant,
        size,
        has_explicit_end: false,
        sends_parts: false,
        metadata,
        sent_metadata: None,
        concat: None,
    };
    Ok(Admitted { beginning, token })
}

/// Applies the limits of the service to a grant, and the grant to what the client declares.
fn restrict(
    mut grant: Grant,
    declared: Option<String>,
    settings: &Settings,
) -> Result<Grant, Rejection> {
    if !grant.allows_type(declared.as_deref()) {
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Files of this type are not allowed.\n",
        ));
    }
    if grant.metadata.content_type.is_none() {
        grant.metadata.content_type = declared;
    }
    grant.max_size = match (grant.max_size, settings.max_size) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Ok(grant)
}

/// Returns what the client sent, with the names of tus for the name and the type.
fn metadata(wanted: &UploadRequest) -> BTreeMap<String, String> {
    let mut metadata = wanted.metadata.clone();
    // They replace fields of the same names, about which the application did not decide.
    for (name, value) in [("filename", &wanted.file_name), ("filetype", &wanted.content_type)] {
        if let Some(value) = value {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    metadata
}
