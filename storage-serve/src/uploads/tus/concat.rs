//! `Upload-Concat`: uploads that become one object.

use http::{HeaderMap, StatusCode};

use super::headers::one;
use super::respond::Rejection;
use crate::uploads::engine::Concat;
use crate::uploads::settings::Settings;
use crate::uploads::token::Token;

/// How many uploads become one object, at most.
const MAX_PARTIALS: usize = 100;

/// The role that a new upload has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is an object of its own.
    Whole,
    Partial,
    /// It consists of the uploads with these ids.
    Final {
        ids: Vec<String>,
        text: String,
    },
}

/// Reads the role of a new upload.
pub(super) fn read(settings: &Settings, headers: &HeaderMap) -> Result<Role, Rejection> {
    let Some(text) = one(headers, "upload-concat")? else { return Ok(Role::Whole) };
    if text == "partial" {
        return Ok(Role::Partial);
    }
    let urls = text.strip_prefix("final;").ok_or_else(malformed)?.split_ascii_whitespace();
    let ids = urls.map(|url| id_of(settings, url)).collect::<Result<Vec<_>, _>>()?;
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if ids.is_empty() || ids.len() > MAX_PARTIALS || distinct.len() != ids.len() {
        return Err(malformed());
    }
    Ok(Role::Final { ids, text: text.to_owned() })
}

/// Returns the id in a URL, which may be absolute or relative. Only the signed token in its last
/// segment counts.
fn id_of(settings: &Settings, url: &str) -> Result<String, Rejection> {
    let segment = url.rsplit('/').next().unwrap_or_default();
    match Token::verify(&settings.signing_key, segment) {
        Some(token) if !token.is_expired() => Ok(token.id),
        _ => Err(Rejection::new(StatusCode::BAD_REQUEST, "Upload-Concat names no upload.\n")),
    }
}

fn malformed() -> Rejection {
    let text = "Upload-Concat is neither \"partial\" nor \"final;\" with different URLs.\n";
    Rejection::bad(text.to_owned())
}

impl Role {
    /// Returns the role as the state of an upload contains it.
    pub(super) fn concat(&self) -> Option<Concat> {
        match self {
            Self::Whole => None,
            Self::Partial => Some(Concat::Partial),
            Self::Final { text, .. } => Some(Concat::Final(text.clone())),
        }
    }
}
