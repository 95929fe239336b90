//! What the mirror is asked, byte for byte: keys that look like others, conditions, signatures; and
//! what shows of secrets.

use std::collections::HashSet;
use std::time::SystemTime;

use storage_core::signed_url::SigningKey;
use storage_core::{ByteRange, ErrorKind, Key, UrlMethod};
use storage_testkit::http::Response;

use super::scene::{KEY, Scene, TOKEN, cached, refused};

#[tokio::test]
async fn keys_that_look_like_others_are_asked_for_as_what_they_are() {
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
        scene.mirror.requests().into_iter().map(|asked| asked.target).collect();
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
async fn keys_that_lead_elsewhere_are_no_keys() {
    let scene = Scene::new(|_| Response::new(404));
    for key in ["..", "../x", "a/../b", "/a", "a//b", "a\0b", ""] {
        refused(scene.read(key).await, ErrorKind::InvalidKey);
        refused(scene.storage.url(key).await, ErrorKind::InvalidKey);
    }
    assert_eq!(scene.mirror.requests().len(), 0);
}

#[tokio::test]
async fn ranges_and_conditions_go_along() {
    let scene = Scene::new(|_| Response::new(404));
    let etag = scene.object(KEY, "0123456789").await.etag.unwrap();
    let open = || scene.storage.open(KEY);
    open().range(2..5).if_match(etag.clone()).await.unwrap();
    open().range(ByteRange::last(3)).await.unwrap();
    open().range(u64::MAX - 1..).await.unwrap_err();
    refused(open().if_none_match(etag.clone()).await, ErrorKind::NotModified);
    open().if_modified_since(SystemTime::UNIX_EPOCH).await.unwrap();
    let asked = scene.mirror.requests();
    assert_eq!(
        (asked[0].header("range"), asked[0].header("if-match")),
        (Some("bytes=2-4"), Some(&*etag.to_string()))
    );
    assert_eq!(asked[1].header("range"), Some("bytes=-3"));
    assert_eq!(asked[2].header("range"), Some("bytes=9223372036854775807-"));
    assert_eq!(asked[3].header("if-none-match"), Some(&*etag.to_string()));
    assert_eq!(asked[4].header("if-modified-since"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    // What is stored compressed is wanted as it is stored.
    assert!(asked.iter().all(|asked| asked.header("accept-encoding") == Some("identity, *")));
}

#[tokio::test]
async fn the_token_goes_only_to_where_purges_go() {
    let here = Scene::new(|_| Response::new(404));
    here.object(KEY, "body").await;
    here.storage.open(KEY).await.unwrap();
    let told = here.mirror.requests().swap_remove(0).header("authorization").map(str::to_owned);
    assert_eq!(told, Some(format!("Bearer {TOKEN}")));
    // The mirror may be anybody's then.
    let elsewhere = Scene::with(
        |builder| builder.admin("http://127.0.0.1:1/".parse().unwrap()),
        |_| Response::new(404),
    );
    elsewhere.object(KEY, "body").await;
    elsewhere.storage.open(KEY).await.unwrap();
    assert_eq!(elsewhere.mirror.requests().swap_remove(0).header("authorization"), None);
}

#[tokio::test]
async fn a_private_mirror_is_asked_with_a_signed_link_that_stays_the_same() {
    let signer = SigningKey::new("the signing key of the mirror").unwrap();
    let scene =
        Scene::with(|builder| builder.signing_key(signer.clone()), |_| Response::disconnect());
    let answer = cached(&scene.object(KEY, "body").await, "body");
    scene.mirror.set_script(move |_| answer.clone());
    for _ in 0..2 {
        assert_eq!(scene.read(KEY).await.unwrap(), "body");
    }
    let asked = scene.mirror.requests();
    assert_eq!(asked.len(), 2);
    for asked in &asked {
        let (path, query) = asked.target.split_once('?').unwrap();
        assert_eq!(path, format!("/download/{KEY}"));
        assert!(
            signer
                .verify(UrlMethod::Get, &Key::new(KEY).unwrap(), query, SystemTime::now())
                .is_ok()
        );
        // The end of a window of five minutes, so that whoever caches in between knows the link
        // again.
        let (_, expires) = query.split_once("X-Storage-Expires=").unwrap();
        let expires: u64 = expires.split('&').next().unwrap().parse().unwrap();
        assert_eq!(expires % 300, 0, "{query}");
    }
}

#[tokio::test]
async fn no_secret_shows() {
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
        assert!(!shown.contains(secret), "{secret} shows in {shown}");
    }
}
