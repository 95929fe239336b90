//! Storages whose links lead to the application: on a disk, and in S3.

use anystorage::Storage;
use anystorage::fs::Fs;
use anystorage::layers::PublicUrl;
use anystorage::s3::{Quirks, S3};
use anystorage::signed_url::SigningKey;
use tempfile::TempDir;

use crate::s3_server;

fn key() -> SigningKey {
    SigningKey::new("a secret of many bytes").unwrap()
}

/// Returns a storage, and the directory that it needs.
pub(crate) fn disk() -> (Storage, TempDir) {
    disk_at("/media/")
}

/// As [`disk`], with links below another path.
pub(crate) fn disk_at(links: &str) -> (Storage, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let fs = Fs::builder(directory.path()).public_url(links.parse().unwrap());
    (Storage::new(fs.signing_key(key()).build().unwrap()), directory)
}

/// As [`disk`]. The application reads from S3, because the links of this storage lead to it.
pub(crate) async fn s3() -> (Storage, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = s3_server::start(directory.path(), "media", "a-key", "a secret").await;
    let s3 = S3::builder("media")
        .endpoint(endpoint.parse().unwrap())
        .allow_http(true)
        .quirks(Quirks::Minio)
        .access_key_id("a-key")
        .secret_access_key("a secret");
    let storage = Storage::new(s3.build().unwrap());
    let links = "/media/".parse().unwrap();
    (storage.layer(|inner| PublicUrl::new(inner, links).signing_key(key())), directory)
}
