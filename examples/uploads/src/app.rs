//! The routes of the application: upload files, list them, delete them.

use anystorage::{ErrorKind, Storage, keys};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use storage_axum::{Result, Serve, UploadForm};

use crate::{files, page};

/// Upper bound for one file, in bytes.
const MAX_FILE: u64 = 10 << 20;
/// Upper bound for a whole form, in bytes. What a browser sends beyond it is not read, so it may
/// see a broken connection instead of the response.
const MAX_FORM: usize = 4 * (10 << 20);

/// Returns the router of the application, which uses only the prefix `uploads/` of the storage.
pub(crate) fn router(storage: &Storage) -> anystorage::Result<Router> {
    let storage = storage.prefixed("uploads")?;
    let mut router = Router::new()
        .route("/", get(show).post(upload))
        .route("/delete/{*key}", post(delete))
        .layer(DefaultBodyLimit::max(MAX_FORM));
    // A storage with its own links may be private, so its files are not served here.
    if !files::has_links(&storage) {
        router = router.nest_service(files::FILES_PATH, Serve::new(storage.clone()));
    }
    Ok(router.with_state(storage))
}

async fn show(State(storage): State<Storage>) -> Result<Response> {
    Ok(page::overview(&files::list(&storage).await?).into_response())
}

/// Streams each file of the form to the storage. A file that is too large or breaks off leaves no
/// object, and the files before it stay.
async fn upload(State(storage): State<Storage>, mut form: UploadForm) -> Result<Response> {
    let mut too_large = Vec::new();
    while let Some(file) = form.next_file().await? {
        let name = file.file_name().to_owned();
        let key = keys::unique("%Y/%m", &name)?;
        // The content type is guessed from the name or the first bytes. A client could send any
        // type.
        match storage.save(key, file.max_size(MAX_FILE)).await {
            Ok(_) => {}
            // If the whole form is too large, the next file is an error.
            Err(error) if error.kind() == ErrorKind::TooLarge => too_large.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    if too_large.is_empty() {
        return Ok(Redirect::to("/").into_response());
    }
    Ok((StatusCode::PAYLOAD_TOO_LARGE, page::too_large(&too_large, MAX_FILE)).into_response())
}

async fn delete(State(storage): State<Storage>, Path(key): Path<String>) -> Result<Redirect> {
    storage.delete(key).await?;
    Ok(Redirect::to("/"))
}
