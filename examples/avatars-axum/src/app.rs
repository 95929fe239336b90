//! The routes of the application.

use anystorage::Storage;
use avatars::{AvatarError, MAX_UPLOAD, Users};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::Value;
use storage_axum::{Serve, StorageError, UploadForm};

/// The largest request, in bytes: a picture, and the form around it.
const MAX_REQUEST: usize = MAX_UPLOAD + (16 << 10);

#[derive(Debug, Clone)]
struct App {
    storage: Storage,
    users: Users,
}

/// Returns the router of the application, which uses only the prefix `avatars/` of the storage.
///
/// # Errors
/// `InvalidConfig` if the storage cannot sign links.
pub fn router(storage: &Storage, users: Users) -> anystorage::Result<Router> {
    let storage = storage.prefixed("avatars")?;
    let mut router = Router::new()
        .route("/avatars", get(list))
        .route("/users/{user}/avatar", put(upload).post(upload_form).get(links).delete(remove))
        .layer(DefaultBodyLimit::max(MAX_REQUEST));
    // With S3, the links lead to S3.
    if let Some(serve) = Serve::for_own_links(&storage)? {
        router = router.nest_service(serve.mount_path(), serve.clone());
    }
    Ok(router.with_state(App { storage, users }))
}

async fn upload(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
    picture: Bytes,
) -> Result<StatusCode, Failure> {
    avatars::replace(&storage, &users, user, picture).await?;
    Ok(StatusCode::CREATED)
}

/// Receives the picture as the file of a form, as browsers send it.
async fn upload_form(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
    mut form: UploadForm,
) -> Result<Response, Failure> {
    let file = form.next_file().await.map_err(StorageError::into_inner)?;
    let Some(file) = file else {
        return Ok((StatusCode::BAD_REQUEST, "the form has no file").into_response());
    };
    // Scaling needs the whole picture in memory.
    let picture = file.bytes_up_to(MAX_UPLOAD as u64).await?;
    avatars::replace(&storage, &users, user, picture).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Lists the users with an avatar, each with a link to the small variant.
async fn list(State(App { storage, users }): State<App>) -> Result<Response, Failure> {
    Ok(json(&avatars::list(&storage, &users).await?))
}

/// Responds with links to the variants. The pictures are private, so the links are signed.
async fn links(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
) -> Result<Response, Failure> {
    match avatars::links(&storage, &users, user).await? {
        Some(links) => Ok(json(&links)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn remove(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
) -> Result<StatusCode, Failure> {
    avatars::remove(&storage, &users, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
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
