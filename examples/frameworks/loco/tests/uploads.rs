//! Resumable uploads to the application.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::Path;

use anystorage::fs::Fs;
use anystorage::{Memory, Storage};
use avatars::Users;
use avatars_loco::{App, with_storage, with_uploads};
use loco_rs::app::AppContext;
use loco_rs::boot::{StartMode, run_app};
use loco_rs::environment::Environment;
use reqwest::{Client, RequestBuilder, Response};
use tokio::net::TcpListener;

/// Starts the application and returns its address.
async fn start(storage: &Storage) -> String {
    // For the client of the tests: the feature `tls-ring` selects no provider for other clients.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    let config = Environment::Test.load_from_folder(folder).unwrap();
    let context = AppContext::builder(Environment::Test, config).build();
    let context = with_uploads(context, storage.clone(), "a secret of many bytes").unwrap();
    let context = with_storage(context, storage, Users::with_ids([1])).unwrap();
    let router = run_app::<App>(&StartMode::ServerOnly, context).await.unwrap().router.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn tus(request: RequestBuilder) -> Response {
    request.header("tus-resumable", "1.0.0").send().await.unwrap()
}

#[tokio::test]
async fn a_video_above_the_payload_limit_of_loco_is_uploaded_in_several_requests() {
    let root = tempfile::tempdir().unwrap();
    let signed = Fs::builder(root.path())
        .public_url("/media/".parse().unwrap())
        .signing_key(anystorage::signed_url::SigningKey::new("a secret of many bytes").unwrap());
    let storage = Storage::new(signed.build().unwrap());
    let address = start(&storage).await;
    let client = Client::builder().no_proxy().build().unwrap();
    // The beginning of an MP4 file, with padding above loco's `limit_payload` of 2 MB.
    let mut video = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
    video.resize(5 << 20, 7);
    let begin = client
        .post(format!("{address}/uploads"))
        .header("upload-length", video.len())
        // `a.mp4` and `video/mp4`.
        .header("upload-metadata", "filename YS5tcDQ=,filetype dmlkZW8vbXA0");
    let refused = tus(begin.try_clone().unwrap()).await;
    assert_eq!(refused.status(), 401);
    let begun = tus(begin.header("x-user", 1)).await;
    assert_eq!(begun.status(), 201);
    let upload = format!("{address}{}", begun.headers()["location"].to_str().unwrap());

    let half = video.len() / 2;
    for (offset, bytes) in [(0, &video[..half]), (half, &video[half..])] {
        let patch = client
            .patch(&upload)
            .header("upload-offset", offset)
            .header("content-type", "application/offset+octet-stream")
            .body(bytes.to_vec());
        assert_eq!(tus(patch).await.status(), 204);
    }
    let [key] = storage.list("videos/1").keys().await.unwrap().try_into().unwrap();
    assert_eq!(storage.stat(&key).await.unwrap().content_type(), Some("video/mp4"));
    assert!(storage.read(&key).await.unwrap() == video);
}

#[tokio::test]
async fn a_storage_without_a_long_secret_is_refused_at_the_start() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    let config = Environment::Test.load_from_folder(folder).unwrap();
    let context = AppContext::builder(Environment::Test, config).build();
    assert!(with_uploads(context, Memory::storage(), "short").is_err());
}
