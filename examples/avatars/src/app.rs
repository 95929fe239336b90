//! The routes of the application.

use std::time::Duration;

use anystorage::{ErrorKind, Result, Storage, attachments::Stored};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use bytes::Bytes;
use storage_axum::{Serve, StorageError, UploadForm};

use crate::avatar::{self, AvatarError};
use crate::picture::MAX_UPLOAD;
use crate::users::Users;

/// The largest request, in bytes: a picture, and the form around it.
const MAX_REQUEST: usize = MAX_UPLOAD + (16 << 10);

/// How long a link to a picture works.
const LIFETIME: Duration = Duration::from_secs(900);

#[derive(Debug, Clone)]
struct App {
    storage: Storage,
    users: Users,
}

/// Returns the router of the application, which uses only the prefix `avatars/` of the storage.
///
/// # Errors
/// `InvalidConfig` if the storage cannot sign links.
pub fn router(storage: &Storage, users: Users) -> Result<Router> {
    let storage = storage.prefixed("avatars")?;
    let mut router = Router::new()
        .route("/avatars", get(list))
        .route("/users/{user}/avatar", put(upload).post(upload_form).get(links).delete(remove))
        .layer(DefaultBodyLimit::max(MAX_REQUEST));
    match Serve::for_storage(&storage) {
        Ok(serve) => router = router.nest_service(serve.mount_path(), serve.clone()),
        // The links lead to another server, such as S3.
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) => return Err(error),
    }
    Ok(router.with_state(App { storage, users }))
}

async fn upload(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
    picture: Bytes,
) -> Result<StatusCode, AvatarError> {
    avatar::replace(&storage, &users, user, picture).await?;
    Ok(StatusCode::CREATED)
}

/// Receives the picture as the file of a form, as browsers send it.
async fn upload_form(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
    mut form: UploadForm,
) -> Result<Response, AvatarError> {
    let file = form.next_file().await.map_err(StorageError::into_inner)?;
    let Some(file) = file else {
        return Ok((StatusCode::BAD_REQUEST, "the form has no file").into_response());
    };
    // Scaling needs the whole picture in memory.
    let picture = file.bytes_up_to(MAX_UPLOAD as u64).await?;
    avatar::replace(&storage, &users, user, picture).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Lists the users with an avatar, each with a link to the small variant.
async fn list(State(App { storage, users }): State<App>) -> Result<Response, AvatarError> {
    let mut listed = Vec::new();
    for (user, avatar) in users.avatars().await {
        let link = storage.url(&avatar.small).expires_in(LIFETIME).await?;
        listed.push(serde_json::json!({ "user": user, "small": link.as_str() }));
    }
    let body = serde_json::Value::from(listed).to_string();
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Responds with links to the variants. The pictures are private, so the links are signed.
async fn links(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
) -> Result<Response, AvatarError> {
    let Some(avatar) = users.avatar(user).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let link = async |stored: &Stored| storage.url(stored).expires_in(LIFETIME).await;
    let (large, small) = (link(&avatar.large).await?, link(&avatar.small).await?);
    let body = serde_json::json!({ "large": large.as_str(), "small": small.as_str() });
    Ok(([(CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

async fn remove(
    State(App { storage, users }): State<App>,
    Path(user): Path<u64>,
) -> Result<StatusCode, AvatarError> {
    avatar::remove(&storage, &users, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl IntoResponse for AvatarError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Storage(error) => return StorageError::from(error).into_response(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAPicture(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownUser => StatusCode::NOT_FOUND,
            Self::Task(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}
