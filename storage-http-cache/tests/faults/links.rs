//! Links: to a mirror that is healthy and has the object, or to origin.

use std::time::{Duration, SystemTime};

use storage_core::layers::PublicUrl;
use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Key, Memory, Storage, UrlMethod};
use storage_fs::Fs;
use storage_http_cache::{HttpCacheBuilder, Verify};
use storage_testkit::http::{Peer, Request, Response};
use tempfile::TempDir;

use super::scene::{BRIEF, KEY, Scene, foreign_object, json, later, purging, refused, verdict};

const QUARTER: Duration = Duration::from_secs(900);
const AT_ORIGIN: &str = "https://media.example.com/files/";

/// Builds a scene with a public origin.
fn public(
    set_up: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder,
    script: fn(&Request) -> Response,
) -> Scene {
    let origin = Memory::storage().layer(|inner| PublicUrl::new(inner, AT_ORIGIN.parse().unwrap()));
    let mirror = Peer::start(script);
    Scene::at(vec![mirror.url()], mirror, origin, set_up)
}

/// Builds a scene with an origin that signs links.
fn private(
    set_up: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder,
    script: fn(&Request) -> Response,
) -> (Scene, TempDir) {
    let directory = tempfile::Builder::new().prefix("storage-http-cache-").tempdir().unwrap();
    let origin = Fs::builder(directory.path().join("root"))
        .durable(false)
        .public_url(AT_ORIGIN.parse().unwrap())
        .signing_key(SigningKey::new("the signing key of origin").unwrap());
    let origin = Storage::new(origin.build().unwrap());
    let mirror = Peer::start(script);
    (Scene::at(vec![mirror.url()], mirror, origin, set_up), directory)
}

fn available(_: &Request) -> Response {
    verdict(true)
}

fn verified_by(how: Verify) -> impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder {
    move |builder| builder.verify(how)
}

async fn link(scene: &Scene, key: &str) -> String {
    scene.storage.url(key).await.unwrap().to_string()
}

#[tokio::test]
async fn signed_links_that_lead_to_origin_have_the_verifier_of_origin() {
    let (scene, _directory) = private(|builder| builder, available);
    let link = scene.storage.url("a.txt").expires_in(QUARTER).await.unwrap();
    assert!(link.as_str().starts_with(AT_ORIGIN), "{link}");
    let (verifier, key) = (scene.storage.link_verifier().unwrap(), Key::new("a.txt").unwrap());
    let query = link.query().unwrap();
    assert!(verifier.verify(UrlMethod::Get, &key, query, SystemTime::now()).is_ok());
}

#[tokio::test]
async fn signed_links_that_may_lead_to_a_mirror_have_no_verifier() {
    let key = || SigningKey::new("the signing key of the mirror").unwrap();
    for (scene, _directory) in [
        private(|builder| builder.signing_key(key()), available),
        private(|builder| builder.public(true), available),
    ] {
        let error = scene.storage.link_verifier().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("mirror"), "{error}");
    }
}

#[tokio::test]
async fn a_link_leads_to_a_mirror_that_has_the_object_and_one_verification_is_enough() {
    let scene = public(|builder| builder, available);
    let expected = format!("{}download/a%20b/c%3F.mp3", scene.mirror.url());
    for _ in 0..3 {
        assert_eq!(link(&scene, "a b/c?.mp3").await, expected);
    }
    assert_eq!(scene.mirror.requests().len(), 1);
    assert_eq!(scene.mirror.requests()[0].target, "/verify/a%20b/c%3F.mp3");
    later(Duration::from_secs(120)).await;
    assert_eq!(link(&scene, "a b/c?.mp3").await, expected);
    assert_eq!(scene.mirror.requests().len(), 2, "the memo has expired");
}

#[tokio::test]
async fn a_link_leads_to_origin_if_the_mirror_lacks_the_object() {
    let responses: [fn(&Request) -> Response; 4] = [
        |_| verdict(false),
        |_| json(r#"{"available": true, "file": "x", "error": true, "error_msg": "no"}"#),
        |_| Response::new(404),
        |_| Response::new(302).header("location", "/elsewhere"),
    ];
    for response in responses {
        let scene = public(|builder| builder, response);
        for _ in 0..3 {
            assert_eq!(link(&scene, KEY).await, format!("{AT_ORIGIN}{KEY}"));
        }
        assert_eq!((scene.mirror.requests().len(), scene.state()), (1, "healthy"));
    }
}

#[tokio::test]
async fn a_link_leads_to_origin_if_the_verification_fails() {
    let never: fn(&Request) -> Response = |_| Response::never();
    let troubles: [fn(&Request) -> Response; 3] = [
        |_| Response::new(500),
        |_| Response::disconnect(),
        |_| foreign_object("\"x\"", "<html>this is no cache tier</html>"),
    ];
    let troubles = troubles.map(|trouble| (trouble, false));
    for (trouble, stalls) in troubles.into_iter().chain([(never, true)]) {
        let scene = public(|builder| builder, trouble);
        for number in 1..=20 {
            let key = format!("k/{number}");
            let link = match number {
                ..=5 if stalls => scene.timed_out("GET /verify/", number, link(&scene, &key)).await,
                _ => link(&scene, &key).await,
            };
            assert_eq!(link, format!("{AT_ORIGIN}{key}"));
        }
        assert_eq!((scene.mirror.requests().len(), scene.state()), (5, "open"));
    }
}

#[tokio::test]
async fn a_verification_whose_body_stalls_fails_in_time() {
    let stalling = |_: &Request| verdict(true).stall_after(5);
    let scene = public(|builder| builder.header_timeout(BRIEF), stalling);
    assert_eq!(link(&scene, KEY).await, format!("{AT_ORIGIN}{KEY}"));
    scene.mirror.until_requested("GET /verify/", 1).await;
    assert_eq!((scene.mirror.fired(), scene.state()), (1, "suspect"));
}

#[tokio::test]
async fn a_suspect_mirror_is_verified_again() {
    let scene = public(|builder| builder, available);
    link(&scene, KEY).await;
    scene.mirror.set_script(|_| Response::new(500));
    link(&scene, "other").await;
    assert_eq!(scene.state(), "suspect");
    assert_eq!(link(&scene, KEY).await, format!("{AT_ORIGIN}{KEY}"));
    assert_eq!(scene.mirror.requests().len(), 3);
}

#[tokio::test]
async fn a_link_leads_to_origin_until_the_purge_is_confirmed() {
    let scene = public(
        |builder| builder,
        |request| {
            if request.method == "POST" { Response::new(500) } else { verdict(true) }
        },
    );
    assert!(link(&scene, KEY).await.starts_with(scene.mirror.url().as_str()));
    scene.storage.save(KEY, "new").await.unwrap();
    assert_eq!(link(&scene, KEY).await, format!("{AT_ORIGIN}{KEY}"));
    assert!(scene.mirror.count("POST ") > 0);
}

#[tokio::test]
async fn a_web_server_is_verified_by_head() {
    let scene =
        public(verified_by(Verify::Head), |_| Response::new(200).header("content-length", "5"));
    assert_eq!(link(&scene, KEY).await, format!("{}{KEY}", scene.mirror.url()));
    let scene_without = public(verified_by(Verify::Head), |_| Response::new(404));
    assert_eq!(link(&scene_without, KEY).await, format!("{AT_ORIGIN}{KEY}"));
    for scene in [scene, scene_without] {
        let requests = scene.mirror.requests();
        assert_eq!(
            (requests[0].method.as_str(), requests[0].target.as_str()),
            ("HEAD", format!("/{KEY}").as_str())
        );
    }
}

#[tokio::test]
async fn without_verification_a_link_leads_to_any_mirror_in_use() {
    let scene = public(
        |builder| verified_by(Verify::None)(builder).breaker_failures(1),
        |_| Response::new(500),
    );
    assert_eq!(link(&scene, KEY).await, format!("{}{KEY}", scene.mirror.url()));
    assert_eq!(scene.mirror.requests().len(), 0);
    scene.object("other", "x").await;
    scene.read("other").await.unwrap();
    assert_eq!(link(&scene, KEY).await, format!("{AT_ORIGIN}{KEY}"));
}

#[tokio::test]
async fn a_link_that_origin_signs_does_not_lead_to_the_mirror() {
    let (scene, _directory) = private(|builder| builder, available);
    let signed = scene.storage.url(KEY).expires_in(QUARTER).await.unwrap();
    assert!(signed.as_str().starts_with(AT_ORIGIN) && signed.expires_at.is_some(), "{signed}");
    assert_eq!(scene.mirror.requests().len(), 0);
}

#[tokio::test]
async fn links_to_a_mirror_with_a_signing_key_are_signed() {
    let signer = SigningKey::new("the signing key of the mirror").unwrap();
    let (scene, _directory) = private(|builder| builder.signing_key(signer.clone()), available);
    let key = Key::new(KEY).unwrap();
    for method in [UrlMethod::Get, UrlMethod::Head] {
        let link = scene
            .storage
            .url(KEY)
            .method(method)
            .expires_in(QUARTER)
            .response_content_type("a/c")
            .await
            .unwrap();
        assert!(
            link.as_str().starts_with(&format!("{}download/{KEY}?", scene.mirror.url())),
            "{link}"
        );
        let grant = signer.verify(method, &key, link.query().unwrap(), SystemTime::now()).unwrap();
        assert_eq!(grant.content_type.as_deref(), Some("a/c"));
    }
    // The verification was signed as well.
    let requests = scene.mirror.requests();
    let (path, query) = requests[0].target.split_once('?').unwrap();
    assert_eq!((requests.len(), path), (1, format!("/verify/{KEY}").as_str()));
    assert!(signer.verify(UrlMethod::Get, &key, query, SystemTime::now()).is_ok());
    // The mirror refuses links without a signature.
    assert_eq!(link(&scene, KEY).await, format!("{AT_ORIGIN}{KEY}"));
    // Links for uploads lead to origin.
    let upload = scene.storage.url(KEY).method(UrlMethod::Put).expires_in(QUARTER).await.unwrap();
    assert!(upload.as_str().starts_with(AT_ORIGIN), "{upload}");
    // So do links that expire later than those of the mirror can.
    let longer = scene.storage.url(KEY).expires_in(Duration::from_secs(8 * 86_400)).await;
    refused(longer, ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_link_to_a_public_mirror_replaces_one_that_origin_would_sign() {
    let (scene, _directory) = private(|builder| builder.public(true), available);
    let plain = scene.storage.url(KEY).expires_in(QUARTER).await.unwrap();
    assert_eq!(plain.as_str(), format!("{}download/{KEY}", scene.mirror.url()));
    assert_eq!(plain.expires_at, None);
    // A plain link cannot choose headers of the response.
    let chosen =
        scene.storage.url(KEY).expires_in(QUARTER).response_content_type("a/c").await.unwrap();
    assert!(chosen.as_str().starts_with(AT_ORIGIN), "{chosen}");
}

#[tokio::test]
async fn a_link_leads_to_the_mirror_if_origin_has_no_links() {
    let scene = Scene::with(|builder| builder.public(true), |_| Response::new(500));
    assert_eq!(link(&scene, KEY).await, format!("{}download/{KEY}", scene.mirror.url()));
    let signed = scene.storage.url(KEY).expires_in(QUARTER).await;
    refused(signed, ErrorKind::Unsupported);
    let scene = Scene::new(purging(|_| verdict(true)));
    refused(scene.storage.url(KEY).await, ErrorKind::Unsupported);
}
