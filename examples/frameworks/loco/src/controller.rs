//! The handlers of the application.

use anystorage::Storage;
use avatars::{AvatarError, MAX_UPLOAD, Users};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use loco_rs::controller::Routes;
use loco_rs::controller::extractor::shared_store::SharedStore;
use loco_rs::controller::format;
use storage_axum::{StorageError, UploadForm};

pub(crate) fn routes() -> Routes {
    let avatar = get(links).put(upload).post(upload_form).delete(remove);
    Routes::new().add("/avatars", get(list)).add("/users/{user}/avatar", avatar)
}

async fn upload(
    SharedStore(storage): SharedStore<Storage>,
    SharedStore(users): SharedStore<Users>,
    Path(user): Path<u64>,
    picture: Bytes,
) -> Result<StatusCode, Failure> {
    avatars::replace(&storage, &users, user, picture).await?;
    Ok(StatusCode::CREATED)
}

/// Receives the picture as the file of a form, as browsers send it.
async fn upload_form(
    SharedStore(storage): SharedStore<Storage>,
    SharedStore(users): SharedStore<Users>,
    Path(user): Path<u64>,
    mut form: UploadForm,
) -> Result<StatusCode, Failure> {
    let file = form.next_file().await.map_err(StorageError::into_inner)?;
    let Some(file) = file else { return Ok(StatusCode::BAD_REQUEST) };
    // Scaling needs the whole picture in memory.
    let picture = file.bytes_up_to(MAX_UPLOAD as u64).await?;
    avatars::replace(&storage, &users, user, picture).await?;
    Ok(StatusCode::CREATED)
}

/// Lists the users with an avatar, each with a link to the small variant.
async fn list(
    SharedStore(storage): SharedStore<Storage>,
    SharedStore(users): SharedStore<Users>,
) -> Result<Response, Failure> {
    Ok(format::json(avatars::list(&storage, &users).await?).into_response())
}

/// Responds with links to the variants. The pictures are private, so the links are signed.
async fn links(
    SharedStore(storage): SharedStore<Storage>,
    SharedStore(users): SharedStore<Users>,
    Path(user): Path<u64>,
) -> Result<Response, Failure> {
    match avatars::links(&storage, &users, user).await? {
        Some(links) => Ok(format::json(links).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn remove(
    SharedStore(storage): SharedStore<Storage>,
    SharedStore(users): SharedStore<Users>,
    Path(user): Path<u64>,
) -> Result<StatusCode, Failure> {
    avatars::remove(&storage, &users, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An error as a response.
struct Failure(AvatarError);

impl<E: Into<AvatarError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0 {
            AvatarError::Storage(error) => return StorageError::from(error).into_response(),
            AvatarError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            AvatarError::NotAPicture(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            AvatarError::UnknownUser => StatusCode::NOT_FOUND,
            AvatarError::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.0.to_string()).into_response()
    }
}
