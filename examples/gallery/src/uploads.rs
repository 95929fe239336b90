//! Who may upload what, and what happens before a picture is visible.

use std::sync::Arc;

use anystorage::serve::uploads::{CompletedUpload, Grant, Refusal, UploadRequest, Uploads};
use anystorage::signed_url::SigningKey;
use anystorage::{Result, Storage, keys};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::app::{PICTURES, Settings};
use crate::session::Sessions;
use crate::thumbnail::{self, ThumbnailError};

/// The types that `thumbnail.rs` decodes.
pub(crate) const TYPES: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];

/// How many unfinished uploads a user may have.
const MAX_OPEN: u32 = 100;

/// Returns the service for uploads to `pictures/<user>/` of the storage.
pub(crate) fn service(
    storage: Storage,
    thumbnails: Storage,
    sessions: Sessions,
    settings: &Settings,
) -> Result<Uploads> {
    let max_size = settings.max_size;
    let authorize = move |head: Parts, file: UploadRequest| {
        let user = sessions.user(&head.headers);
        async move {
            let user = user.ok_or_else(|| refusal(StatusCode::UNAUTHORIZED, "Sign in first."))?;
            let name = file.file_name.as_deref().unwrap_or("picture");
            let key = keys::unique(&format!("{PICTURES}/{user}"), name)?;
            let grant = Grant::new(key)?.max_size(max_size).types(TYPES).sniff();
            Ok(grant.max_open(user, MAX_OPEN))
        }
    };
    // The secret also signs sessions and links, so each use has a name of its own.
    let signing_key = SigningKey::new(format!("uploads {}", settings.secret))?;
    // Decoding needs much memory, so pictures wait for each other.
    let turns = Arc::new(Semaphore::new(1));
    let uploads = Uploads::new(storage, signing_key, authorize)?;
    let uploads = uploads.form_redirect(&Uri::from_static("/"));
    Ok(uploads.on_complete(move |upload| {
        let (thumbnails, turns) = (thumbnails.clone(), Arc::clone(&turns));
        async move { save_thumbnail(&thumbnails, upload, turns.acquire_owned().await.ok()).await }
    }))
}

/// Saves the thumbnail before the picture is visible, so that each picture in a list has one. A
/// repeated call saves the same thumbnail again.
async fn save_thumbnail(
    thumbnails: &Storage,
    upload: CompletedUpload,
    turn: Option<OwnedSemaphorePermit>,
) -> Result<(), Refusal> {
    let storage = upload.storage.blocking()?;
    let scaled = spawn_blocking(move || {
        // Decoding goes on if the future is dropped, so the turn ends with it.
        let _turn = turn;
        thumbnail::scale(storage.reader(&upload.object.key)?)
    });
    let scaled = scaled.await.map_err(|panic| {
        tracing::error!(%panic, "a picture could not be decoded");
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "The picture could not be decoded.")
    })?;
    let jpeg = scaled.map_err(|error| match error {
        // With a status of 500 or more, the upload stays, and the next request tries again.
        ThumbnailError::Storage(error) => Refusal::from(error),
        ThumbnailError::TooLarge => {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, "The picture has too many pixels.")
        }
        ThumbnailError::NotAPicture => {
            refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The file is not a complete picture.")
        }
    })?;
    // The thumbnail of `pictures/ada/a.png` is `thumbnails/ada/a.png`.
    let key = upload.key.as_str().strip_prefix(PICTURES).unwrap_or_default();
    let key = key.trim_start_matches('/');
    thumbnails.save(key, jpeg).content_type("image/jpeg").await?;
    Ok(())
}

fn refusal(status: StatusCode, text: &str) -> Refusal {
    Refusal::new(status, format!("{text}\n"))
}
