//! The requests to a mirror, byte for byte: keys, conditions, signatures, and hidden secrets.

use std::collections::HashSet;
use std::time::SystemTime;

use storage_core::signed_url::SigningKey;
use storage_core::{ByteRange, ErrorKind, Key, UrlMethod};
use storage_testkit::http::Response;

use super::scene::{KEY, Scene, TOKEN, cached, refused};

#[tokio::test]
async fn similar_keys_have_different_urls_at_the_mirror() {
    let scene = Scene::new(|_| Response::new(404));
    let keys = [
        "Foo.mp3",
        "foo.mp3",
        "x.mp3?v=1",
        "x.mp3%3Fv=1",
        "x.mp3",
        "a/%2e%2e/b",
        "a/..b",
        "%2e%2e",
        "a%00b",
        "a\\b",
        "a+b",
        "a b",
        "a#b",
        "verify/x",
        "e\u{301}",
        "\u{e9}",
        "a;b",
        "a%2Fb",
        "a/b",
    ];
    for key in keys {
        scene.object(key, key.as_bytes().to_vec()).await;
        assert_eq!(scene.read(key).await.unwrap(), key.as_bytes());
    }
    let targets: HashSet<_> =
        scene.mirror.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets.len(), keys.len(), "{targets:?}");
    for target in [
        "/download/x.mp3%3Fv%3D1",
        "/download/x.mp3%253Fv%3D1",
        "/download/a/%252e%252e/b",
        "/download/verify/x",
    ] {
        assert!(targets.contains(target), "{target} is not in {targets:?}");
    }
}

#[tokio::test]
async fn keys_that_lead_out_of_the_base_are_refused() {
    let scene = Scene::new(|_| Response::new(404));
    for key in ["..", "../x", "a/../b", "/a", "a//b", "a\0b", ""] {
        refused(scene.read(key).await, ErrorKind::InvalidKey);
        refused(scene.storage.url(key).await, ErrorKind::InvalidKey);
    }
    assert_eq!(scene.mirror.requests().len(), 0);
}

#[tokio::test]
async fn the_request_to_the_mirror_contains_ranges_and_conditions() {
    let scene = Scene::new(|_| Response::new(404));
    let etag = scene.object(KEY, "0123456789").await.etag.unwrap();
    let open = || scene.storage.open(KEY);
    open().range(2..5).if_match(etag.clone()).await.unwrap();
    open().range(ByteRange::last(3)).await.unwrap();
    open().range(u64::MAX - 1..).await.unwrap_err();
    refused(open().if_none_match(etag.clone()).await, ErrorKind::NotModified);
    open().if_modified_since(SystemTime::UNIX_EPOCH).await.unwrap();
    let requests = scene.mirror.requests();
    assert_eq!(
        (requests[0].header("range"), requests[0].header("if-match")),
        (Some("bytes=2-4"), Some(&*etag.to_string()))
    );
    assert_eq!(requests[1].header("range"), Some("bytes=-3"));
    assert_eq!(requests[2].header("range"), Some("bytes=9223372036854775807-"));
    assert_eq!(requests[3].header("if-none-match"), Some(&*etag.to_string()));
    assert_eq!(requests[4].header("if-modified-since"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    // An object that is stored compressed is requested as it is stored.
    assert!(
        requests.iter().all(|request| request.header("accept-encoding") == Some("identity, *"))
    );
}

#[tokio::test]
async fn the_token_is_sent_only_to_the_host_of_the_admin_routes() {
    let here = Scene::new(|_| Response::new(404));
    here.object(KEY, "body").await;
    here.storage.open(KEY).await.unwrap();
    let authorization =
        here.mirror.requests().swap_remove(0).header("authorization").map(str::to_owned);
    assert_eq!(authorization, Some(format!("Bearer {TOKEN}")));
    // Another party may operate the mirror then.
    let elsewhere = Scene::with(
        |builder| builder.admin("http://127.0.0.1:1/".parse().unwrap()),
        |_| Response::new(404),
    );
    elsewhere.object(KEY, "body").await;
    elsewhere.storage.open(KEY).await.unwrap();
    assert_eq!(elsewhere.mirror.requests().swap_remove(0).header("authorization"), None);
}

#[tokio::test]
async fn requests_to_a_private_mirror_have_a_signature_that_stays_the_same() {
    let signer = SigningKey::new("the signing key of the mirror").unwrap();
    let scene =
        Scene::with(|builder| builder.signing_key(signer.clone()), |_| Response::disconnect());
    let response = cached(&scene.object(KEY, "body").await, "body");
    scene.mirror.set_script(move |_| response.clone());
    for _ in 0..2 {
        assert_eq!(scene.read(KEY).await.unwrap(), "body");
    }
    let requests = scene.mirror.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let (path, query) = request.target.split_once('?').unwrap();
        assert_eq!(path, format!("/download/{KEY}"));
        assert!(
            signer
                .verify(UrlMethod::Get, &Key::new(KEY).unwrap(), query, SystemTime::now())
                .is_ok()
        );
        // The end of a window of five minutes, so that a cache in front of the mirror can store
        // the response.
        let (_, expires) = query.split_once("X-Storage-Expires=").unwrap();
        let expires: u64 = expires.split('&').next().unwrap().parse().unwrap();
        assert_eq!(expires % 300, 0, "{query}");
    }
}

#[tokio::test]
async fn no_secret_appears_in_errors_and_debug_forms() {
    const SECRET: &str = "canary-signing-key";
    let signer = SigningKey::new(SECRET).unwrap();
    let scene = Scene::with(|builder| builder.signing_key(signer), |_| Response::new(500));
    let _ = scene.faults.on(storage_core::Operation::Open).fail(ErrorKind::Unexpected);
    let error = scene.read(KEY).await.unwrap_err();
    assert_eq!(scene.mirror.sound(), 1);
    let shown = format!(
        "{error} {error:?} {:?} {:?} {:?}",
        scene.cache,
        scene.storage.info(),
        scene.cache.status()
    );
    for secret in [TOKEN, SECRET, "X-Storage-Signature"] {
        assert!(!shown.contains(secret), "{secret} appears in {shown}");
    }
}
