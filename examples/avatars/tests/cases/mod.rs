//! What an application with avatars does in every framework. The tests of the applications include
//! this file.

use std::io::Cursor;
use std::path::Path;

use anystorage::fs::Fs;
use anystorage::layers::PublicUrl;
use anystorage::signed_url::SigningKey;
use anystorage::{Environment, ErrorKind, Loader, Memory, Operation, Storage};
use avatars::{MAX_UPLOAD, Users};
use image::{ImageFormat, RgbImage};
use reqwest::{Client, Method};
use storage_testkit::faults::Faults;

/// Starts the application and returns its address.
pub(crate) trait Start: AsyncFn(Storage, Users) -> String {}

impl<F: AsyncFn(Storage, Users) -> String> Start for F {}

fn key() -> SigningKey {
    SigningKey::new("a secret of many bytes").unwrap()
}

pub(crate) fn memory() -> Storage {
    let base = "/media/".parse().unwrap();
    Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key()))
}

pub(crate) fn disk(root: &Path) -> Storage {
    let fs = Fs::builder(root).public_url("/media/".parse().unwrap()).signing_key(key());
    Storage::new(fs.build().unwrap())
}

/// Opens the storage of a `production.toml`, with a server in this process.
pub(crate) async fn s3(production: &str, directory: &Path) -> Storage {
    let endpoint = crate::s3_server::start(directory, "media", "a-key", "a secret").await;
    let text = format!(
        "{production}endpoint = \"{endpoint}\"\nallow_http = true\nquirks = \"minio\"\n\
         access_key_id = \"a-key\"\nsecret_access_key = \"a secret\"\n"
    );
    let environment =
        Environment::empty().with("AVATARS_BUCKET", "media").with("AWS_REGION", "us-east-1");
    let loader = Loader::new().with_environment(environment);
    loader.toml_str(&text).unwrap().open("default").unwrap()
}

fn picture() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(600, 400).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

async fn send(method: Method, url: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let response = Client::new().request(method, url).body(body).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

async fn upload(app: &str, picture: Vec<u8>) -> u16 {
    send(Method::PUT, &format!("{app}/users/1/avatar"), picture).await.0
}

/// Uploads a picture as browsers send it.
async fn upload_form(app: &str, picture: &[u8]) -> u16 {
    let head = "--x\r\ncontent-disposition: form-data; name=f; filename=ada.png\r\n\r\n";
    let form = [head.as_bytes(), picture, b"\r\n--x--\r\n"].concat();
    let request = Client::new().post(format!("{app}/users/1/avatar")).body(form);
    let request = request.header("content-type", "multipart/form-data; boundary=x");
    request.send().await.unwrap().status().as_u16()
}

async fn json(url: &str) -> serde_json::Value {
    let (status, body) = send(Method::GET, url, Vec::new()).await;
    assert_eq!(status, 200);
    serde_json::from_slice(&body).unwrap()
}

async fn keys(storage: &Storage) -> Vec<String> {
    storage.list("").keys().await.unwrap().iter().map(ToString::to_string).collect()
}

/// A picture is uploaded, listed, shown by signed links, and deleted.
pub(crate) async fn a_picture_is_uploaded_shown_and_deleted(start: impl Start, storage: Storage) {
    let app = start(storage.clone(), Users::with_ids([1])).await;
    assert_eq!(json(&format!("{app}/avatars")).await, serde_json::json!([]));
    assert_eq!(upload_form(&app, &picture()).await, 201);
    assert_eq!(keys(&storage).await.len(), 3);

    let avatar = format!("{app}/users/1/avatar");
    let links = json(&avatar).await;
    for (variant, side) in [("large", 512), ("small", 64)] {
        let link = links[variant].as_str().unwrap();
        // The link is relative if the application serves the pictures.
        let link = if link.starts_with('/') { format!("{app}{link}") } else { link.to_owned() };
        let (status, body) = send(Method::GET, &link, Vec::new()).await;
        assert_eq!(status, 200, "{link}");
        let image = image::load_from_memory(&body).unwrap();
        assert_eq!((image.width(), image.height()), (side, side));
        let unsigned = send(Method::GET, link.split('?').next().unwrap(), Vec::new()).await;
        assert_eq!(unsigned.0, 403);
    }
    let listed = json(&format!("{app}/avatars")).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["user"]), (1, &1.into()));

    assert_eq!(send(Method::DELETE, &avatar, Vec::new()).await.0, 204);
    assert!(keys(&storage).await.is_empty());
    assert_eq!(send(Method::GET, &avatar, Vec::new()).await.0, 204);
}

/// What is too large or not a picture leaves nothing.
pub(crate) async fn other_uploads_are_refused(start: impl Start, storage: Storage) {
    let app = start(storage.clone(), Users::with_ids([1])).await;
    assert_eq!(upload_form(&app, &vec![0; MAX_UPLOAD + 1]).await, 413);
    assert_eq!(upload(&app, vec![0; MAX_UPLOAD + 1]).await, 413);
    assert_eq!(upload(&app, b"<svg onload='alert(1)'/>".to_vec()).await, 415);
    assert_eq!(upload_form(&app, b"hello").await, 415);
    let unknown = send(Method::PUT, &format!("{app}/users/2/avatar"), picture()).await;
    assert_eq!(unknown.0, 404);
    assert!(keys(&storage).await.is_empty());
}

/// A save that fails leaves the old picture, its row, and no other object.
pub(crate) async fn a_failed_save_leaves_the_old_picture(start: impl Start, storage: Storage) {
    let faults = Faults::new();
    let (users, faulty) = (Users::with_ids([1]), storage.layer(|inner| faults.layer(inner)));
    let app = start(faulty, users.clone()).await;
    assert_eq!(upload(&app, picture()).await, 201);
    let (before, row) = (keys(&storage).await, users.avatar(1).await.unwrap());
    for failing in 1..=3 {
        let save = faults.on(Operation::Save).call(failing).fail(ErrorKind::StorageFull);
        assert_eq!(upload(&app, picture()).await, 507);
        assert_eq!(save.fired(), 1);
        assert_eq!(keys(&storage).await, before, "save {failing}");
        assert_eq!(users.avatar(1).await.unwrap(), row);
    }
}

/// If the row cannot be written after the objects are saved, the objects are deleted.
pub(crate) async fn a_row_that_cannot_be_written_leaves_no_object(
    start: impl Start,
    storage: Storage,
) {
    let faults = Faults::new();
    let (users, faulty) = (Users::with_ids([1]), storage.layer(|inner| faults.layer(inner)));
    let app = start(faulty, users.clone()).await;
    let last_save = faults.on(Operation::Save).call(3).hold();
    let uploading = tokio::spawn(async move { upload(&app, picture()).await });
    last_save.reached().await;
    assert_eq!(keys(&storage).await.len(), 2);
    users.delete(1);
    last_save.release();
    assert_eq!(uploading.await.unwrap(), 404);
    assert_eq!(last_save.fired(), 1);
    assert!(keys(&storage).await.is_empty());
}

/// Declares the tests of an application.
macro_rules! tests {
    ($start:path, $production:expr) => {
        #[tokio::test]
        async fn a_picture_in_memory_is_uploaded_shown_and_deleted() {
            cases::a_picture_is_uploaded_shown_and_deleted($start, cases::memory()).await;
        }

        #[tokio::test]
        async fn a_picture_on_a_disk_is_uploaded_shown_and_deleted() {
            let root = tempfile::tempdir().unwrap();
            cases::a_picture_is_uploaded_shown_and_deleted($start, cases::disk(root.path())).await;
        }

        #[tokio::test]
        async fn a_picture_in_s3_is_uploaded_shown_and_deleted() {
            let root = tempfile::tempdir().unwrap();
            let storage = cases::s3($production, root.path()).await;
            cases::a_picture_is_uploaded_shown_and_deleted($start, storage).await;
        }

        #[tokio::test]
        async fn uploads_that_are_too_large_or_no_pictures_are_refused() {
            cases::other_uploads_are_refused($start, cases::memory()).await;
        }

        #[tokio::test]
        async fn a_save_that_fails_in_memory_leaves_the_old_picture() {
            cases::a_failed_save_leaves_the_old_picture($start, cases::memory()).await;
        }

        #[tokio::test]
        async fn a_save_that_fails_in_s3_leaves_the_old_picture() {
            let root = tempfile::tempdir().unwrap();
            let storage = cases::s3($production, root.path()).await;
            cases::a_failed_save_leaves_the_old_picture($start, storage).await;
        }

        #[tokio::test]
        async fn a_row_that_cannot_be_written_leaves_no_object_in_s3() {
            let root = tempfile::tempdir().unwrap();
            let storage = cases::s3($production, root.path()).await;
            cases::a_row_that_cannot_be_written_leaves_no_object($start, storage).await;
        }
    };
}
pub(crate) use tests;
