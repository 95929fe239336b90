//! Pictures of all kinds in the handlers. `every_framework.rs` contains the cases that other
//! frameworks share.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::io::Cursor;
use std::path::Path;

use anystorage::layers::PublicUrl;
use anystorage::signed_url::SigningKey;
use anystorage::{ErrorKind, Memory, Operation, Storage, fs::Fs};
use avatars::{AvatarError, MAX_DECODED, MAX_UPLOAD, Users};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use image::{DynamicImage, ImageError, ImageFormat, Rgb, RgbImage, RgbaImage};
use storage_testkit::faults::Faults;
use tower_service::Service;

fn key() -> SigningKey {
    SigningKey::new("a secret of many bytes").unwrap()
}

fn memory() -> Storage {
    let base = "/media/".parse().unwrap();
    Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(key()))
}

fn disk(root: &Path) -> Storage {
    let fs = Fs::builder(root).public_url("/media/".parse().unwrap()).signing_key(key());
    Storage::new(fs.build().unwrap())
}

/// The application with one user.
struct App {
    router: Router,
    storage: Storage,
    users: Users,
}

impl App {
    fn on(storage: Storage) -> Self {
        let users = Users::with_ids([1]);
        Self { router: avatars_axum::router(&storage, users.clone()).unwrap(), storage, users }
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> (StatusCode, Bytes) {
        let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        let response = self.router.call(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    /// Sends a picture as a browser sends a form.
    async fn upload_form(&mut self, picture: &[u8]) -> StatusCode {
        let head = "--x\r\ncontent-disposition: form-data; name=f; filename=ada.jpg\r\n\r\n";
        let body = [head.as_bytes(), picture, b"\r\n--x--\r\n"].concat();
        let request = Request::post("/users/1/avatar")
            .header("content-type", "multipart/form-data; boundary=x")
            .body(Body::from(body));
        self.router.call(request.unwrap()).await.unwrap().status()
    }

    async fn upload(&mut self, picture: Bytes) -> StatusCode {
        self.send(Method::PUT, "/users/1/avatar", picture).await.0
    }

    /// Returns the link to a variant.
    async fn link(&mut self, variant: &str) -> String {
        let (status, body) = self.send(Method::GET, "/users/1/avatar", Bytes::new()).await;
        assert_eq!(status, StatusCode::OK);
        let links: serde_json::Value = serde_json::from_slice(&body).unwrap();
        links[variant].as_str().unwrap().to_owned()
    }

    async fn keys(&self) -> Vec<String> {
        self.storage.list("").keys().await.unwrap().iter().map(ToString::to_string).collect()
    }
}

/// Returns a picture whose left half is red and whose right half is blue.
fn picture(width: u32, height: u32, format: ImageFormat) -> Bytes {
    let halves = RgbImage::from_fn(width, height, |x, _| match x < width / 2 {
        true => Rgb([255, 0, 0]),
        false => Rgb([0, 0, 255]),
    });
    encoded(&halves.into(), format)
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner().into()
}

/// Adds the note of a camera that was held so that the top of the picture is at its right.
fn held_sideways(jpeg: &Bytes) -> Bytes {
    // An APP1 segment with one entry of TIFF: tag 0x112 (orientation), a 16-bit integer, 6.
    let exif =
        b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    [&jpeg[..2], exif, &jpeg[2..]].concat().into()
}

fn is_red(pixel: Rgb<u8>) -> bool {
    pixel.0[0] > 200 && pixel.0[2] < 50
}

async fn an_uploaded_picture_is_shown_in_two_sizes_by_signed_links(storage: Storage) {
    let mut app = App::on(storage);
    assert_eq!(app.upload(picture(600, 400, ImageFormat::Jpeg)).await, StatusCode::CREATED);
    for (variant, side) in [("large", 512), ("small", 64)] {
        let link = app.link(variant).await;
        assert!(link.starts_with(&format!("/media/avatars/1/{variant}-")), "{link}");
        let (status, body) = app.send(Method::GET, &link, Bytes::new()).await;
        assert_eq!(status, StatusCode::OK);
        let image = image::load_from_memory_with_format(&body, ImageFormat::Jpeg).unwrap();
        assert_eq!((image.width(), image.height()), (side, side));
        let pixels = image.into_rgb8();
        assert!(is_red(*pixels.get_pixel(1, 1)) && !is_red(*pixels.get_pixel(side - 2, 1)));

        let unsigned = link.split('?').next().unwrap();
        let (status, _) = app.send(Method::GET, unsigned, Bytes::new()).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let avatar = app.users.avatar(1).await.unwrap().unwrap();
    let avatars = app.storage.prefixed("avatars").unwrap();
    let original = avatars.stat(&avatar.original).await.unwrap();
    assert_eq!(original.content_type(), Some("image/jpeg"));
    assert_eq!(avatars.read(&avatar.original).await.unwrap(), picture(600, 400, ImageFormat::Jpeg));
    assert_eq!(app.keys().await.len(), 3);
}

#[tokio::test]
async fn a_picture_is_stored_and_shown_from_memory() {
    an_uploaded_picture_is_shown_in_two_sizes_by_signed_links(memory()).await;
}

#[tokio::test]
async fn a_picture_is_stored_and_shown_from_a_disk() {
    let root = tempfile::tempdir().unwrap();
    an_uploaded_picture_is_shown_in_two_sizes_by_signed_links(disk(root.path())).await;
}

#[tokio::test]
async fn a_picture_of_a_form_is_stored_and_one_above_two_mebibytes_is_refused() {
    let mut app = App::on(memory());
    let picture = picture(600, 400, ImageFormat::Jpeg);
    assert_eq!(app.upload_form(&picture).await, StatusCode::CREATED);
    let before = app.keys().await;
    assert_eq!(before.len(), 3);
    let large = vec![0; MAX_UPLOAD + 1];
    assert_eq!(app.upload_form(&large).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(app.upload_form(&vec![0; 2 * MAX_UPLOAD]).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(app.upload_form(b"hello").await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(app.keys().await, before);
}

#[tokio::test]
async fn a_picture_with_transparency_keeps_it() {
    let mut app = App::on(memory());
    let image = DynamicImage::ImageRgba8(RgbaImage::new(100, 100));
    assert_eq!(app.upload(encoded(&image, ImageFormat::Png)).await, StatusCode::CREATED);
    let small = app.users.avatar(1).await.unwrap().unwrap().small;
    assert_eq!(small.content_type.as_deref(), Some("image/png"));
    let link = app.link("small").await;
    let (_, body) = app.send(Method::GET, &link, Bytes::new()).await;
    assert_eq!(image::load_from_memory(&body).unwrap().into_rgba8().get_pixel(9, 9).0[3], 0);
}

#[tokio::test]
async fn a_picture_of_a_camera_that_was_held_sideways_is_turned() {
    let mut app = App::on(memory());
    let upload = held_sideways(&picture(400, 400, ImageFormat::Jpeg));
    assert_eq!(app.upload(upload).await, StatusCode::CREATED);
    let link = app.link("small").await;
    let (_, body) = app.send(Method::GET, &link, Bytes::new()).await;
    let pixels = image::load_from_memory(&body).unwrap().into_rgb8();
    // The left half, which is red, is at the top now.
    assert!(is_red(*pixels.get_pixel(60, 4)) && !is_red(*pixels.get_pixel(4, 60)));
}

#[tokio::test]
async fn what_is_not_a_picture_is_refused_whatever_its_beginning() {
    let mut app = App::on(memory());
    let broken = picture(600, 400, ImageFormat::Png).slice(..100);
    let html = Bytes::from_static(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>");
    let gif = Bytes::from_static(
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    );
    for upload in [Bytes::new(), Bytes::from_static(b"hello"), html, gif, broken] {
        assert_eq!(
            app.upload(upload.clone()).await,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{upload:?}"
        );
    }
    assert!(app.keys().await.is_empty());
}

#[tokio::test]
async fn a_picture_above_two_mebibytes_is_refused_by_the_route_and_by_the_function() {
    let mut app = App::on(memory());
    let upload = Bytes::from(vec![0; MAX_UPLOAD + 1]);
    assert_eq!(app.upload(upload.clone()).await, StatusCode::PAYLOAD_TOO_LARGE);
    let refused = avatars::replace(&app.storage, &app.users, 1, upload).await.unwrap_err();
    assert!(matches!(refused, AvatarError::TooLarge), "{refused:?}");
    assert!(app.keys().await.is_empty());
}

#[tokio::test]
async fn a_small_file_that_describes_a_huge_picture_is_refused_before_it_is_decoded() {
    let mut upload = picture(16, 16, ImageFormat::Jpeg).to_vec();
    // The frame header contains height and width (ITU-T T.81, section B.2.2).
    let frame = upload.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let side: u16 = 10_000;
    assert!(u64::from(side) * u64::from(side) * 3 > MAX_DECODED);
    upload[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
    upload[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
    let app = App::on(memory());
    let refused = avatars::replace(&app.storage, &app.users, 1, upload.into()).await.unwrap_err();
    assert!(matches!(refused, AvatarError::NotAPicture(ImageError::Limits(_))), "{refused:?}");
    assert!(app.keys().await.is_empty());
}

/// Scaled to 512 pixels of width before it is cut, it would take 16 GB.
#[tokio::test]
async fn a_line_of_pixels_becomes_two_squares() {
    let mut app = App::on(memory());
    let avatars = app.storage.prefixed("avatars").unwrap();
    for (width, height) in [(1, 20_000), (20_000, 1)] {
        let line = picture(width, height, ImageFormat::Png);
        assert!(line.len() < 64 * 1024);
        assert_eq!(app.upload(line).await, StatusCode::CREATED);
        let stored = app.users.avatar(1).await.unwrap().unwrap();
        for (variant, side) in [(stored.large, 512), (stored.small, 64)] {
            let bytes = avatars.read(&variant).await.unwrap();
            let image = image::load_from_memory(&bytes).unwrap();
            assert_eq!((image.width(), image.height()), (side, side));
        }
    }
}

#[tokio::test]
async fn a_new_picture_replaces_the_objects_of_the_one_before() {
    let root = tempfile::tempdir().unwrap();
    for storage in [memory(), disk(root.path())] {
        a_new_picture_replaces_those_of(storage).await;
    }
}

async fn a_new_picture_replaces_those_of(storage: Storage) {
    let mut app = App::on(storage);
    app.upload(picture(100, 100, ImageFormat::Png)).await;
    let before = app.keys().await;
    assert_eq!(app.upload(picture(200, 200, ImageFormat::Png)).await, StatusCode::CREATED);
    let after = app.keys().await;
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|key| !before.contains(key)), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_user_who_is_deleted_during_the_upload_leaves_no_object() {
    let mut app = App::on(memory());
    app.users.delete(1);
    assert_eq!(app.upload(picture(100, 100, ImageFormat::Png)).await, StatusCode::NOT_FOUND);
    assert!(app.keys().await.is_empty());
}

#[tokio::test]
async fn an_old_object_that_cannot_be_deleted_does_not_fail_the_upload() {
    let faults = Faults::new();
    let mut app = App::on(memory().layer(|inner| faults.layer(inner)));
    app.upload(picture(100, 100, ImageFormat::Png)).await;
    let delete = faults.on(Operation::Delete).call(2).fail(ErrorKind::Timeout);
    assert_eq!(app.upload(picture(200, 200, ImageFormat::Png)).await, StatusCode::CREATED);
    assert_eq!(delete.fired(), 1);
    assert_eq!(app.keys().await.len(), 4);
}

#[tokio::test]
async fn a_storage_that_cannot_sign_links_is_refused_at_the_start() {
    let error = avatars_axum::router(&Memory::storage(), Users::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}
