//! Every task in memory, on a disk and in S3.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../../avatars/tests/s3_server/mod.rs"]
mod s3_server;

use std::io::{Cursor, SeekFrom};
use std::path::Path;

use anystorage::layers::PublicUrl;
use anystorage::signed_url::SigningKey;
use anystorage::{Environment, ErrorKind, Link, Loader, Memory, Operation, Storage, fs::Fs};
use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use daily_tasks::objects::add_invoice;
use daily_tasks::{objects, pictures, web};
use http_body_util::BodyExt;
use image::{DynamicImage, ImageFormat};
use storage_testkit::faults::Faults;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tower_service::Service;

fn memory() -> Storage {
    let key = SigningKey::new("a secret of many bytes").unwrap();
    let base = "/media/".parse().unwrap();
    Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key))
}

fn disk(root: &Path) -> Storage {
    let key = SigningKey::new("a secret of many bytes").unwrap();
    let fs = Fs::builder(root).public_url("/media/".parse().unwrap()).signing_key(key);
    Storage::new(fs.build().unwrap())
}

async fn s3(directory: &Path) -> Storage {
    let endpoint = s3_server::start(directory, "media", "a-key", "a secret").await;
    let text = format!(
        "[storages.default]\ndriver = \"s3\"\nbucket = \"media\"\nregion = \"us-east-1\"\n\
         endpoint = \"{endpoint}\"\nallow_http = true\nquirks = \"minio\"\n\
         access_key_id = \"a-key\"\nsecret_access_key = \"a secret\"\n"
    );
    let loader = Loader::new().with_environment(Environment::empty());
    loader.toml_str(&text).unwrap().open("default").unwrap()
}

/// Returns a storage of each kind, and the directory that contains two of them.
async fn storages() -> ([Storage; 3], TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let fs = directory.path().join("fs");
    std::fs::create_dir(&fs).unwrap();
    ([memory(), disk(&fs), s3(&directory.path().join("s3")).await], directory)
}

fn photo() -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(200, 100).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner().into()
}

/// The routes of the page around one storage.
fn router(storage: &Storage) -> Router {
    let router = Router::new()
        .route("/photos", post(web::upload).layer(DefaultBodyLimit::max(20 << 20)))
        .route("/photos/{name}", get(web::show))
        .with_state(storage.clone());
    web::with_public(web::with_links(router, storage).unwrap(), storage).unwrap()
}

async fn send(router: &mut Router, request: Request<Body>) -> (StatusCode, Bytes) {
    let response = router.call(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

/// Downloads a link from S3, or from the router that serves it.
async fn follow(router: &mut Router, link: &Link) -> (u16, Bytes) {
    if link.is_relative() {
        let request = Request::get(link.as_str()).body(Body::empty()).unwrap();
        let (status, body) = send(router, request).await;
        return (status.as_u16(), body);
    }
    let response = reqwest::get(link.as_str()).await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap())
}

/// Uploads by a link, as the script on the page does, and returns the status.
async fn upload(router: &mut Router, link: &Link, body: Bytes) -> u16 {
    let sent = |(name, _): &&(String, String)| name != "content-length" && name != "host";
    let headers = link.headers.iter().filter(sent);
    if link.is_relative() {
        let request = headers.fold(Request::put(link.as_str()), |request, (name, value)| {
            request.header(name, value)
        });
        let request = request.header("content-length", body.len()).body(Body::from(body));
        return send(router, request.unwrap()).await.0.as_u16();
    }
    let request = headers.fold(reqwest::Client::new().put(link.as_str()), |request, header| {
        request.header(&header.0, &header.1)
    });
    request.body(body).send().await.unwrap().status().as_u16()
}

#[test]
fn a_storage_is_opened_by_a_url_on_a_disk_and_in_s3() {
    let root = tempfile::tempdir().unwrap();
    let disk = objects::open(&format!("file://{}", root.path().display())).unwrap();
    assert_eq!(disk.info().name, "fs");
    let s3 = objects::open("s3://media?region=eu-west-1&anonymous=true").unwrap();
    assert_eq!(s3.info().name, "s3");
}

#[tokio::test]
async fn a_photo_of_a_form_is_saved_and_one_above_ten_megabytes_leaves_no_object() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        let mut router = router(&storage);
        for (size, expected) in
            [(3, StatusCode::CREATED), ((10 << 20) + 1, StatusCode::PAYLOAD_TOO_LARGE)]
        {
            let head = "--x\r\ncontent-disposition: form-data; name=f; filename=a.jpg\r\n\r\n";
            let body = [head.as_bytes(), &vec![0; size], b"\r\n--x--\r\n"].concat();
            let request = Request::post("/photos")
                .header("content-type", "multipart/form-data; boundary=x")
                .body(Body::from(body));
            assert_eq!(send(&mut router, request.unwrap()).await.0, expected, "{storage:?}");
        }
        assert_eq!(storage.list("photos/").keys().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_invoice_is_never_overwritten() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        add_invoice(&storage, 7, "first".into()).await.unwrap();
        let error = add_invoice(&storage, 7, "second".into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert_eq!(storage.read_text("invoices/7.pdf").await.unwrap(), "first");
    }
}

#[tokio::test]
async fn photos_are_listed_and_those_of_a_deleted_user_are_gone() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        for key in ["photos/1/a.jpg", "photos/b.jpg", "users/1/a", "users/1/b/c", "users/11/a"] {
            storage.save(key, "hello").await.unwrap();
        }
        let (mut out, mut again) = (Vec::new(), Vec::new());
        objects::list_photos(&storage, &mut out).await.unwrap();
        objects::list_many(&storage, &mut again).await.unwrap();
        assert_eq!(out, again);
        assert_eq!(String::from_utf8(out).unwrap(), "photos/1/a.jpg 5\nphotos/b.jpg 5\n");
        assert_eq!(objects::delete_user(&storage, 1).await.unwrap(), 2);
        assert_eq!(storage.list("users/").keys().await.unwrap(), ["users/11/a"]);
    }
}

#[tokio::test]
async fn a_signed_link_works_and_one_without_its_signature_does_not() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        storage.save("reports/1.txt", "hello").await.unwrap();
        let mut router = router(&storage);
        let link = web::link(&storage, "reports/1.txt").await.unwrap();
        assert_eq!(follow(&mut router, &link).await, (200, Bytes::from("hello")), "{link:?}");
        let unsigned = match link.url() {
            Ok(_) => Link::public(link.without_query().parse().unwrap()),
            Err(_) => {
                "/media/".parse::<anystorage::LinkBase>().unwrap().link(&key("reports/1.txt"))
            }
        };
        assert_eq!(follow(&mut router, &unsigned).await.0, 403, "{unsigned:?}");
    }
}

fn key(text: &str) -> anystorage::Key {
    anystorage::Key::new(text).unwrap()
}

#[tokio::test]
async fn public_files_are_served_with_ranges_and_private_ones_by_a_handler() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        storage.save("public/a.txt", "hello").await.unwrap();
        storage.save("photos/a.txt", "private").await.unwrap();
        let mut router = router(&storage);
        let part = Request::get("/public/a.txt").header("range", "bytes=1-2").body(Body::empty());
        let part = send(&mut router, part.unwrap()).await;
        assert_eq!(part, (StatusCode::PARTIAL_CONTENT, Bytes::from("el")));
        let shown = Request::get("/photos/a.txt").body(Body::empty()).unwrap();
        assert_eq!(send(&mut router, shown).await, (StatusCode::OK, Bytes::from("private")));
    }
}

#[tokio::test]
async fn a_browser_uploads_a_picture_of_the_announced_size_only() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        let mut router = router(&storage);
        let error = web::upload_link(&storage, 7, 5_000_001).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let link = web::upload_link(&storage, 7, 5).await.unwrap();
        let longer = upload(&mut router, &link, "hello, world".into()).await;
        assert!((400..500).contains(&longer), "{longer} {storage:?}");
        assert!(!storage.exists("photos/7.jpg").await.unwrap());
        let status = upload(&mut router, &link, "hello".into()).await;
        assert!((200..300).contains(&status), "{status} {storage:?}");
        let saved = storage.stat("photos/7.jpg").await.unwrap();
        assert_eq!((saved.size, saved.content_type()), (5, Some("image/jpeg")));
    }
}

#[tokio::test]
async fn a_form_for_s3_contains_its_limits_and_a_disk_has_none() {
    let ([memory, disk, s3], _directory) = storages().await;
    let form = web::upload_form(&s3, 7).await.unwrap();
    let names: Vec<_> = form.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert!(names.contains(&"policy".to_owned()), "{names:?}");
    for storage in [memory, disk] {
        assert!(web::upload_form(&storage, 7).await.unwrap_err().is_unsupported());
    }
}

#[tokio::test]
async fn a_small_variant_is_saved_next_to_the_photo() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        pictures::save_small(&storage, 7, &photo()).await.unwrap();
        let small = storage.read("photos/7-small.jpg").await.unwrap();
        let small = image::load_from_memory(&small).unwrap();
        assert_eq!((small.width(), small.height()), (64, 32));
    }
}

#[tokio::test]
async fn the_end_of_a_song_is_read_by_a_range_and_by_seeking() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        let song = [&vec![0; 200_000][..], b"TAG", &[1; 125]].concat();
        storage.save("song.mp3", song).await.unwrap();
        let tag = objects::song_tag(&storage, "song.mp3").await.unwrap();
        assert!(tag.starts_with(b"TAG") && tag.len() == 128);
        let mut reader = objects::song(&storage, "song.mp3").await.unwrap();
        reader.seek(SeekFrom::End(-128)).await.unwrap();
        let mut sought = Vec::new();
        reader.read_to_end(&mut sought).await.unwrap();
        assert_eq!(sought, tag);
    }
}

#[tokio::test]
async fn a_row_keeps_a_photo_through_json_and_the_photo_is_read_by_it() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        let database = pictures::Database::default();
        pictures::add_photo(&storage, &database, photo()).await.unwrap();
        let row = pictures::User { photo: database.photo(), ..Default::default() };
        let json = serde_json::to_string(&row).unwrap();
        let read: pictures::User = serde_json::from_str(&json).unwrap();
        assert_eq!(storage.read(read.photo.unwrap()).await.unwrap(), photo());
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_written_leaves_no_photo() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        let database = pictures::Database::read_only();
        assert!(pictures::add_photo(&storage, &database, photo()).await.is_err());
        // The guard deletes in a task of its own.
        while !storage.list("photos/").keys().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(database.photo().is_none());
    }
}

#[tokio::test]
async fn a_row_that_may_exist_keeps_its_photo() {
    let (storages, _directory) = storages().await;
    for storage in storages {
        let database = pictures::Database::disconnecting();
        assert!(pictures::add_photo(&storage, &database, photo()).await.is_err());
        assert_eq!(storage.read(database.photo().unwrap()).await.unwrap(), photo());
    }
}

#[tokio::test]
async fn an_invoice_is_refused_if_the_storage_is_full() {
    let faults = Faults::new();
    faults.on(Operation::Save).call(1).fail(ErrorKind::StorageFull);
    let error = add_invoice(&faults.in_memory(), 7, "pdf".into()).await.unwrap_err();
    assert_eq!((error.kind(), faults.fired()), (ErrorKind::StorageFull, 1));
}
