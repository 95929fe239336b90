//! poem 3.

use anystorage::serve::form::UploadForm;
use anystorage::serve::{Serve, error_response_of_call, respond};
use anystorage::{Error, Storage, keys};
use poem::endpoint::TowerCompatExt;
use poem::http::StatusCode;
use poem::middleware::SizeLimit;
use poem::web::{Data, Path};
use poem::{Body, Endpoint, EndpointExt, Request, Response, Route, get, handler, post};

#[handler]
async fn upload(
    storage: Data<&Storage>,
    request: &Request,
    body: Body,
) -> Result<StatusCode, StorageError> {
    let content_type = request.content_type().unwrap_or_default();
    let mut form = UploadForm::new(content_type, body.into_bytes_stream())?;
    while let Some(file) = form.next_file().await? {
        let key = keys::unique("photos", file.file_name())?;
        storage.save(key, file.max_size(10 << 20)).await?;
    }
    Ok(StatusCode::CREATED)
}

#[handler]
async fn download(
    storage: Data<&Storage>,
    name: Path<String>,
    request: &Request,
) -> Result<Response, StorageError> {
    // Check here that the user may read it.
    let key = format!("photos/{}", name.0);
    Ok(respond(&storage, key, request.method(), request.headers()).await?.into())
}

/// An error of a storage as a response.
struct StorageError(Error);

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<StorageError> for poem::Error {
    fn from(error: StorageError) -> Self {
        Self::from_response(error_response_of_call(&error.0).into())
    }
}

pub fn app(storage: Storage) -> anystorage::Result<impl Endpoint> {
    let mut routes = Route::new()
        .at("/photos", post(upload).with(SizeLimit::new(50 << 20)))
        .at("/photos/:name", get(download).head(download));
    // Signed links: storage.url(key).expires_in(..). With S3, they lead to S3.
    if let Some(serve) = Serve::for_own_links(&storage)? {
        routes = routes.nest(serve.mount_path().to_owned(), serve.compat());
    }
    Ok(routes.data(storage))
}
