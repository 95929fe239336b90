//! The routes of the application: upload files, list them, delete them.

use anystorage::serve::{Serve, error_response};
use anystorage::{Error, Payload, Result, Storage, keys};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use crate::form::{Form, MAX_FILE, is_too_large};
use crate::{files, page};

/// Returns the router of the application, which uses only the prefix `uploads/` of the storage.
pub(crate) fn router(storage: &Storage) -> Result<Router> {
    let storage = storage.prefixed("uploads")?;
    let mut router =
        Router::new().route("/", get(show).post(upload)).route("/delete/{*key}", post(delete));
    // A storage with its own links may be private, so its files are not served here.
    if !files::has_links(&storage) {
        router = router.nest_service(files::FILES_PATH, Serve::new(storage.clone()));
    }
    Ok(router.with_state(storage))
}

async fn show(State(storage): State<Storage>) -> Result<Response, Failure> {
    Ok(page::overview(&files::list(&storage).await?).into_response())
}

/// Streams each file of the form to the storage. A file that is too large or breaks off leaves no
/// object, and the files before it stay.
///
/// Reads the form from the body, because the fields of axum's `Multipart` borrow from it and a
/// payload has to be owned. axum's limit of 2 MB does not apply to a `Body`. [`crate::form`] has
/// the limits.
async fn upload(
    State(storage): State<Storage>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let mut form = Form::new(&headers, body)?;
    let mut too_large = Vec::new();
    while let Some(file) = form.next_file().await? {
        let key = keys::unique("%Y/%m", &file.name)?;
        // The content type is guessed from the name or the first bytes. A client could send any
        // type.
        match storage.save(key, Payload::from_stream(file.content)).await {
            Ok(_) => {}
            Err(error) if is_too_large(&error) => too_large.push(file.name),
            // An error of the storage, or of the form, which cannot be read any further.
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

/// An error as a response, with the status of its kind.
struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // `error_response` chooses the status by method, and PUT is the method of uploads.
        error_response(&Method::PUT, &self.0).map(Body::new)
    }
}
