//! The gallery on a disk, in memory and in S3, with a client for tus.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod app;
mod pictures;
// The S3 server of the tests of storage-s3. It imports the other modules from its parent.
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../../storage-s3/tests/common/requests.rs"]
mod requests;
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../../storage-s3/tests/common/server.rs"]
mod server;
#[path = "../../../../storage-s3/tests/common/uploads.rs"]
mod uploads;

use anystorage::Operation;
use app::App;
use gallery::MAX_PIXELS;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, RgbaImage};
use pictures::{encoded, halves, held_sideways, is_red};
use storage_core::ErrorKind;
use storage_testkit::faults::Faults;

async fn a_picture_has_a_thumbnail_for_everyone_and_an_original_for_users(app: &App) {
    let picture = halves(1200, 800, ImageFormat::Png);
    let ada = app.sign_in("ada").await;
    assert_eq!(app.upload(&ada, "My Sunset.PNG", "image/png", &picture).await, 204);

    let [shown] = app.shown(&ada).await.try_into().unwrap();
    assert_eq!((&*shown.name, shown.is_own), ("My Sunset", true));
    let thumbnail = app.get(&shown.thumbnail, "").await;
    assert_eq!(thumbnail.headers()["content-type"], "image/jpeg");
    assert_eq!(thumbnail.headers()["cache-control"], "public, max-age=31536000, immutable");
    let beyond = app.get_range(&shown.thumbnail, "bytes=99999999-").await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["cache-control"], "no-store");
    let thumbnail = image::load_from_memory(&thumbnail.bytes().await.unwrap()).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (640, 427));
    let pixels = thumbnail.into_rgb8();
    assert!(is_red(*pixels.get_pixel(5, 5)) && !is_red(*pixels.get_pixel(630, 5)));

    let link = shown.original.unwrap();
    let original = app.get(&link, "").await;
    assert_eq!(
        (original.status().as_u16(), original.headers()["content-type"].to_str().unwrap()),
        (200, "image/png")
    );
    assert!(original.bytes().await.unwrap() == picture);
    assert_eq!(app.get(link.split('?').next().unwrap(), "").await.status(), 403);

    let [shown] = app.shown("").await.try_into().unwrap();
    assert_eq!((shown.original, shown.is_own), (None, false));
}

#[tokio::test]
async fn a_picture_on_a_disk_has_a_thumbnail_and_a_signed_original() {
    a_picture_has_a_thumbnail_for_everyone_and_an_original_for_users(&App::on_disk().await).await;
}

#[tokio::test]
async fn a_picture_in_s3_has_a_thumbnail_and_a_signed_original() {
    let bucket = server::Server::get().bucket();
    let app = App::on(bucket.storage()).await;
    a_picture_has_a_thumbnail_for_everyone_and_an_original_for_users(&app).await;
}

#[tokio::test]
async fn only_a_session_of_this_server_may_upload() {
    let app = App::in_memory().await;
    let cookie = app.sign_in("ada").await;
    let other = App::with_secret("another secret of many bytes").await.sign_in("ada").await;
    let (name, tag) = cookie.split_once('.').unwrap();
    let renamed = format!("session=grace.{tag}");
    let later = cookie.replacen(&format!("{name}.1"), &format!("{name}.9"), 1);
    assert_ne!(later, cookie);
    for cookie in ["", "session=", "session=ada", "session=ada.9.", &other, &renamed, &later] {
        assert_eq!(app.begin(cookie, "a.png", "image/png", 9).await.status(), 401, "{cookie}");
    }
    assert_eq!(app.begin(&cookie, "a.png", "image/png", 9).await.status(), 201);
}

#[tokio::test]
async fn a_wrong_password_or_a_malformed_name_gets_no_session() {
    let app = App::in_memory().await;
    let long = "a".repeat(33);
    for (user, password) in
        [("ada", "wrong"), ("ada", ""), ("", app::PASSWORD), (&long, app::PASSWORD)]
    {
        assert_eq!(app.post_sign_in(user, password).await.status(), 403, "{user} {password}");
    }
    for user in ["a.b", "a/b", "..", "Ada", "a%0d", "é"] {
        assert_eq!(app.post_sign_in(user, app::PASSWORD).await.status(), 403, "{user}");
    }
}

#[tokio::test]
async fn a_form_of_another_site_makes_no_session() {
    let app = App::in_memory().await;
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 303)] {
        assert_eq!(app.post_sign_in_from(site).await.status(), status, "{site}");
    }
}

#[tokio::test]
async fn the_session_of_a_user_survives_a_restart() {
    let (first, second) = (App::in_memory().await, App::in_memory().await);
    let cookie = first.sign_in("ada").await;
    assert_eq!(second.begin(&cookie, "a.png", "image/png", 9).await.status(), 201);
}

#[tokio::test]
async fn a_file_that_is_no_picture_is_refused_and_leaves_nothing() {
    let app = App::in_memory().await;
    let ada = app.sign_in("ada").await;
    for declared in ["text/html", "image/svg+xml", "application/pdf"] {
        assert_eq!(app.begin(&ada, "a.png", declared, 9).await.status(), 415, "{declared}");
    }
    let page = b"<!DOCTYPE html><script>alert(1)</script>".to_vec();
    let gif =
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let truncated = halves(600, 400, ImageFormat::Png)[..200].to_vec();
    for (name, bytes) in [("page", page), ("gif", gif.to_vec()), ("truncated", truncated)] {
        assert_eq!(app.upload(&ada, "a.png", "image/png", &bytes).await, 415, "{name}");
    }
    assert_eq!(app.shown(&ada).await, []);
    assert_eq!(app.keys("gallery/pictures").await + app.keys("gallery/thumbnails").await, 0);
}

#[tokio::test]
async fn a_picture_with_too_many_pixels_is_refused_before_it_is_decoded() {
    let mut jpeg = halves(16, 16, ImageFormat::Jpeg);
    // The frame header contains height and width (ITU-T T.81, section B.2.2).
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let side: u16 = 7_100;
    assert!(u64::from(side) * u64::from(side) > MAX_PIXELS);
    jpeg[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
    let app = App::in_memory().await;
    let ada = app.sign_in("ada").await;
    assert_eq!(app.upload(&ada, "a.jpg", "image/jpeg", &jpeg).await, 413);
    assert_eq!(app.shown(&ada).await, []);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_at_the_beginning() {
    let app = App::in_memory().await;
    let ada = app.sign_in("ada").await;
    assert_eq!(app.begin(&ada, "a.png", "image/png", app::MAX_SIZE).await.status(), 201);
    assert_eq!(app.begin(&ada, "a.png", "image/png", app::MAX_SIZE + 1).await.status(), 413);
}

#[tokio::test]
async fn an_upload_survives_a_failure_of_any_call_to_the_storage_at_its_end() {
    let picture = halves(600, 400, ImageFormat::Png);
    for operation in [Operation::Open, Operation::Save] {
        let mut failures = 0;
        for call in 1.. {
            let faults = Faults::new();
            let app = App::on(app::memory().layer(|inner| faults.layer(inner))).await;
            let ada = app.sign_in("ada").await;
            let upload = app.begin(&ada, "a.png", "image/png", picture.len() as u64).await;
            let upload = upload.headers()["location"].to_str().unwrap().to_owned();
            let fault = faults.on(operation).call(call).fail(ErrorKind::StorageFull);
            let status = app.append(&upload, 0, &picture).await;
            assert!(status == 204 || status >= 500, "{operation:?} {call}: {status}");
            if fault.fired() == 0 {
                break;
            }
            failures += usize::from(status != 204);
            // If the result of the function was not recorded, the upload is locked for minutes.
            if app.head(&upload).await.status() == 423 {
                assert_eq!(operation, Operation::Save);
                continue;
            }
            app.finish(&upload, &picture).await;
            assert_eq!(app.shown(&ada).await.len(), 1, "{operation:?} {call}");
            let original = app.shown(&ada).await.remove(0).original.unwrap();
            assert!(app.get(&original, "").await.bytes().await.unwrap() == picture);
        }
        assert!(failures > 0, "{operation:?}");
    }
}

#[tokio::test]
async fn a_thumbnail_is_turned_and_has_a_white_background() {
    let app = App::in_memory().await;
    let ada = app.sign_in("ada").await;
    let sideways = held_sideways(&halves(400, 200, ImageFormat::Jpeg));
    assert_eq!(app.upload(&ada, "a.jpg", "image/jpeg", &sideways).await, 204);
    let thumbnail = app.thumbnail_of(&ada).await;
    assert_eq!((thumbnail.width(), thumbnail.height()), (200, 400));
    // The left half, which is red, is at the top now.
    assert!(is_red(*thumbnail.get_pixel(100, 5)) && !is_red(*thumbnail.get_pixel(100, 395)));

    let app = App::in_memory().await;
    let ada = app.sign_in("ada").await;
    let transparent = encoded(&DynamicImage::ImageRgba8(RgbaImage::new(50, 50)), ImageFormat::WebP);
    assert_eq!(app.upload(&ada, "a.webp", "image/webp", &transparent).await, 204);
    assert_eq!(*app.thumbnail_of(&ada).await.get_pixel(25, 25), Rgb([255; 3]));
}

#[tokio::test]
async fn a_user_deletes_only_the_own_pictures() {
    let app = App::on_disk().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let picture = halves(60, 40, ImageFormat::Png);
    assert_eq!(app.upload(&ada, "a.png", "image/png", &picture).await, 204);
    let [shown] = app.shown(&ada).await.try_into().unwrap();
    let key = shown.thumbnail.strip_prefix("/thumbnails").unwrap();
    assert!(!app.shown(&grace).await[0].is_own);
    for cookie in ["", &grace, "session=ada.9999999999.AAAA"] {
        assert_eq!(app.delete(cookie, key).await.status(), 403, "{cookie}");
    }
    assert_eq!(app.delete(&grace, &format!("/grace/..{key}")).await.status(), 400);
    assert_eq!(app.shown(&ada).await.len(), 1);

    assert_eq!(app.delete(&ada, key).await.status(), 303);
    assert_eq!(app.shown(&ada).await, []);
    assert_eq!(app.keys("gallery/pictures").await + app.keys("gallery/thumbnails").await, 0);
    assert_eq!(app.get(&shown.original.unwrap(), "").await.status(), 404);
    assert_eq!(app.get(&shown.thumbnail, "").await.status(), 404);
}

#[tokio::test]
async fn a_hostile_name_is_text_on_the_page() {
    let app = App::in_memory().await;
    let ada = app.sign_in("ada").await;
    let picture = encoded(&RgbImage::new(9, 9).into(), ImageFormat::Png);
    for name in ["<script>alert(1)</script>.png", "../../etc/passwd", "\"onload='x'", ""] {
        assert_eq!(app.upload(&ada, name, "image/png", &picture).await, 204, "{name}");
    }
    assert_eq!(app.shown(&ada).await.len(), 4);
    assert_eq!(app.keys("gallery/pictures/ada").await, 4);
    let page = app.get("/", &ada).await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text().await.unwrap();
    assert!(!text.contains("<script") && !text.contains('\'') && !text.contains(".."), "{text}");
}

#[tokio::test]
async fn the_state_of_uploads_is_not_served() {
    let app = App::on_disk().await;
    let ada = app.sign_in("ada").await;
    assert_eq!(app.begin(&ada, "a.png", "image/png", 9).await.status(), 201);
    let states = app.storage.list("gallery/.uploads").objects().await.unwrap();
    assert!(!states.is_empty());
    for state in states {
        let below = state.key.as_str().strip_prefix("gallery/").unwrap();
        for path in [
            format!("/media/gallery/{below}"),
            format!("/media/gallery/pictures/{below}"),
            format!("/thumbnails/../{below}"),
        ] {
            assert!([403, 404].contains(&app.get(&path, &ada).await.status().as_u16()), "{path}");
        }
    }
}
