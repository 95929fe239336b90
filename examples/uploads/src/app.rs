//! What the application does: take files, show them, delete them.

use std::error::Error as _;

use anystorage::http::{Serve, serve::failure};
use anystorage::{Error, ErrorKind, Payload, Result, Storage, keys};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures_util::TryStreamExt;
use multer::{Constraints, Multipart, SizeLimit};

use crate::{files, page};

/// The most bytes of one file.
const MAX_FILE: u64 = 10 << 20;
/// The most bytes of a form with all its files; and of memory, since multer holds the headers of a part, however long. What a
/// browser sends beyond is not read, and it may see a broken connection for an answer.
const MAX_FORM: u64 = 4 * MAX_FILE;

/// The application, which sees nothing of the storage but what is below `uploads/`.
pub(crate) fn router(storage: &Storage) -> Result<Router> {
    let storage = storage.prefixed("uploads")?;
    let mut router = Router::new().route("/", get(show).post(upload)).route("/delete/{*key}", post(delete));
    // A storage with links of its own may be private: then those are the only way to the files.
    if !files::have_links(&storage) {
        router = router.nest_service(files::SERVED, Serve::new(storage.clone()));
    }
    Ok(router.with_state(storage))
}

async fn show(State(storage): State<Storage>) -> Result<Response, Failure> {
    Ok(page::overview(&files::list(&storage).await?).into_response())
}

/// Streams each file of the form to the storage. Each is for itself: one that is too large or breaks off leaves nothing, and
/// those before it stay.
///
/// The parts are taken from the body itself. axum's `Multipart` only lends them, and a payload is owned: so whatever drops
/// the save drops its source too, and nothing can take the beginning of a file for the whole. Nor does axum's limit of 2 MB
/// apply to a `Body`; the limits are those above.
async fn upload(State(storage): State<Storage>, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(unreadable)?;
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(MAX_FORM));
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, limits);
    let mut too_large = Vec::new();
    while let Some(part) = form.next_field().await.map_err(unreadable)? {
        // Browsers send a part without a file name where no file was chosen.
        let Some(name) = part.file_name().filter(|name| !name.is_empty()).map(str::to_owned) else { continue };
        let key = keys::unique("%Y/%m", &name)?;
        // No content type: the storage tells it from the name or the first bytes. What the browser says of a file is no more
        // than what somebody made it say.
        match storage.save(key, Payload::from_stream(part.map_err(unreadable))).max_size(MAX_FILE).await {
            Ok(_) => {}
            // The rest is read all the same: for the files beside it, and since a connection that is closed on unread bytes may
            // lose the answer (RFC 9112, section 9.6).
            Err(error) if error.kind() == ErrorKind::TooLarge && error.source().is_none() => too_large.push(name),
            // Of the storage, or of the form, whose end nobody finds then.
            Err(error) => return Err(error.into()),
        }
    }
    if too_large.is_empty() {
        return Ok(Redirect::to("/").into_response());
    }
    Ok((StatusCode::PAYLOAD_TOO_LARGE, page::too_large(&too_large, MAX_FILE)).into_response())
}

async fn delete(State(storage): State<Storage>, Path(key): Path<String>) -> Result<Redirect, Failure> {
    storage.delete(key).await?;
    Ok(Redirect::to("/"))
}

fn unreadable(cause: multer::Error) -> Error {
    let kind = match cause {
        multer::Error::StreamSizeExceeded { .. } => ErrorKind::TooLarge,
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, "the form cannot be read to its end").with_source(cause)
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
