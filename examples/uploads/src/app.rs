//! What the application does: take files, show them, delete them.

use anystorage::serve::{Serve, failure};
use anystorage::{Error, Payload, Result, Storage, keys};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use crate::form::{Form, MAX_FILE, is_too_large};
use crate::{files, page};

/// The application, which sees nothing of the storage but what is below `uploads/`.
pub(crate) fn router(storage: &Storage) -> Result<Router> {
    let storage = storage.prefixed("uploads")?;
    let mut router =
        Router::new().route("/", get(show).post(upload)).route("/delete/{*key}", post(delete));
    // A storage with links of its own may be private: then those are the only way to the files.
    if !files::have_links(&storage) {
        router = router.nest_service(files::SERVED, Serve::new(storage.clone()));
    }
    Ok(router.with_state(storage))
}

async fn show(State(storage): State<Storage>) -> Result<Response, Failure> {
    Ok(page::overview(&files::list(&storage).await?).into_response())
}

/// Streams each file of the form to the storage. Each is for itself: one that is too large or
/// breaks off leaves nothing, and those before it stay.
///
/// The parts are taken from the body itself. axum's `Multipart` only lends them, and a payload is
/// owned. Nor does axum's limit of 2 MB apply to a `Body`; the limits are those of [`crate::form`].
async fn upload(
    State(storage): State<Storage>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let mut form = Form::new(&headers, body)?;
    let mut too_large = Vec::new();
    while let Some(file) = form.next_file().await? {
        let key = keys::unique("%Y/%m", &file.name)?;
        // No content type: the storage tells it from the name or the first bytes. What the browser
        // says of a file is no more than what somebody made it say.
        match storage.save(key, Payload::from_stream(file.content)).await {
            Ok(_) => {}
            Err(error) if is_too_large(&error) => too_large.push(file.name),
            // Of the storage, or of the form, whose end cannot be found then.
            Err(error) => return Err(error.into()),
        }
    }
    if too_large.is_empty() {
        return Ok(Redirect::to("/").into_response());
    }
    Ok((StatusCode::PAYLOAD_TOO_LARGE, page::too_large(&too_large, MAX_FILE)).into_response())
}

async fn delete(
    State(storage): State<Storage>,
    Path(key): Path<String>,
) -> Result<Redirect, Failure> {
    storage.delete(key).await?;
    Ok(Redirect::to("/"))
}

/// A failure of the storage as an answer, with the status that suits its kind.
struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // To `Serve`, PUT is what uploads.
        failure(&Method::PUT, &self.0).map(Body::new)
    }
}
