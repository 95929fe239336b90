//! Uploads, links and responses of a web application.

use std::time::Duration;

use anystorage::{Error, ErrorKind, Link, Storage, UrlMethod, keys};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use storage_axum::{Respond, Result, Serve, UploadForm};

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Streams the file of a form into the storage: at most 10 MiB.
pub async fn upload(State(storage): State<Storage>, mut form: UploadForm) -> Result<StatusCode> {
    let Some(file) = form.next_file().await? else { return Ok(StatusCode::BAD_REQUEST) };
    storage.save(keys::unique("photos", file.file_name())?, file.max_size(10 << 20)).await?;
    Ok(StatusCode::CREATED)
}

/// Makes a link that works for ten minutes.
pub async fn link(storage: &Storage, key: &str) -> anystorage::Result<Link> {
    storage.url(key).expires_in(TEN_MINUTES).await
}

/// Serves the links of a storage on a disk. Those of S3 lead to S3.
pub fn with_links(mut router: Router, storage: &Storage) -> anystorage::Result<Router> {
    if let Some(serve) = Serve::for_own_links(storage)? {
        router = router.nest_service(serve.mount_path(), serve.clone());
    }
    Ok(router)
}

/// Serves everything below `public/` to everyone.
pub fn with_public(router: Router, storage: &Storage) -> anystorage::Result<Router> {
    Ok(router.nest_service("/public", Serve::new(storage.prefixed("public")?)))
}

/// Sends a photo to a user who may see it.
pub async fn show(
    State(storage): State<Storage>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    storage.respond(format!("photos/{name}"), &headers).await
}

/// Makes a link by which a browser may upload one picture of this size.
pub async fn upload_link(storage: &Storage, user: u64, size: u64) -> anystorage::Result<Link> {
    if size > 5_000_000 {
        return Err(Error::new(ErrorKind::TooLarge, "a picture may have 5 MB"));
    }
    let link = storage.url(format!("photos/{user}.jpg")).method(UrlMethod::Put);
    link.content_type("image/jpeg").content_length(size).expires_in(TEN_MINUTES).await
}

/// Makes the fields of a form that uploads one picture to S3.
pub async fn upload_form(storage: &Storage, user: u64) -> anystorage::Result<Link> {
    let form = storage.url(format!("photos/{user}.jpg")).method(UrlMethod::Post);
    form.content_type("image/jpeg")
        .content_length_range(1..=5_000_000)
        .expires_in(TEN_MINUTES)
        .await
}
