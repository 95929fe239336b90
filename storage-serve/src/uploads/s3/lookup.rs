//! The upload that a request names.

use http::StatusCode;
use http::request::Parts;

use super::request;
use super::respond::Failed;
use super::ticket::{Kind, Ticket};
use crate::uploads::engine::{Failure, Loaded};
use crate::uploads::settings::Settings;

/// Why a request does not get the upload of an id.
pub(super) enum Denied {
    /// It was removed.
    Gone,
    Failed(Failed),
}

impl From<Denied> for Failed {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Gone => Failure::Gone.into(),
            Denied::Failed(failed) => failed,
        }
    }
}

/// Returns the upload of an id, if the parameter `key` is its key.
pub(super) async fn upload(settings: &Settings, id: &str, head: &Parts) -> Result<Loaded, Denied> {
    let ticket = ticket(settings, id).map_err(Denied::Failed)?;
    let loaded = match settings.engine.load(&ticket.id).await {
        Err(Failure::Gone) => return Err(Denied::Gone),
        loaded => loaded.map_err(|failure| Denied::Failed(failure.into()))?,
    };
    match request::parameter(head, "key") {
        Some(key) if key == loaded.state.key.as_str() => Ok(loaded),
        _ => Err(Denied::Failed(Failed::no_such_upload())),
    }
}

/// Returns the ticket of an id. One that is forged does not exist, and one that is expired did.
pub(super) fn ticket(settings: &Settings, id: &str) -> Result<Ticket, Failed> {
    let ticket = Ticket::verify(Kind::Parts, &settings.signing_key, id);
    let ticket = ticket.ok_or_else(Failed::no_such_upload)?;
    if ticket.is_expired() {
        return Err(Failed::new(StatusCode::GONE, "NoSuchUpload", "The upload has expired."));
    }
    Ok(ticket)
}
