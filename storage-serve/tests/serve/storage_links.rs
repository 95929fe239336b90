//! `Serve::for_storage`: links that a storage signs, through every layer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use storage_core::config::{Options, StorageConfig};
use storage_core::layers::{
    DefaultMetadata, Limit, Observed, Prefixed, PublicUrl, ReadOnly, Retry, Timeout,
};
use storage_core::{Driver, ErrorKind, Memory, Metadata, Registry, Storage, UrlMethod};
use storage_fs::Fs;
use storage_serve::Serve;
use storage_testkit::faults::Faults;
use tempfile::TempDir;
use tower_service::Service;

use crate::common::{get, head, link, put, request, signing_key};

const SECRET: &str = "the secret of these tests";
const MINUTE: Duration = Duration::from_secs(60);

type Wrap = fn(Arc<dyn Driver>) -> Arc<dyn Driver>;

/// A layer, and the prefix that it adds to each key.
const LAYERS: [(&str, &str, Wrap); 10] = [
    ("no layer", "", |inner| inner),
    ("DefaultMetadata", "", |inner| Arc::new(DefaultMetadata::new(inner, Metadata::new()))),
    ("Faults", "", |inner| Arc::new(Faults::new().layer(inner))),
    ("Limit", "", |inner| Arc::new(Limit::new(inner, 1))),
    ("Observed", "", |inner| Arc::new(Observed::new(inner))),
    ("PublicUrl", "", |inner| {
        Arc::new(PublicUrl::new(inner, "https://cdn.example/".parse().unwrap()))
    }),
    ("Retry", "", |inner| Arc::new(Retry::new(inner, 1))),
    ("Timeout", "", |inner| Arc::new(Timeout::new(inner, MINUTE))),
    ("Prefixed", "in/side/", |inner| Arc::new(Prefixed::new(inner, "in/side").unwrap())),
    ("all", "in/side/", |inner| {
        let inner = Arc::new(Prefixed::new(inner, "in").unwrap());
        let inner = Arc::new(DefaultMetadata::new(inner, Metadata::new()));
        let inner = Arc::new(Retry::new(Arc::new(Timeout::new(inner, MINUTE)), 1));
        Arc::new(Observed::new(Arc::new(Prefixed::new(inner, "side").unwrap())))
    }),
];

/// Returns a storage in memory that signs links below `/media/`.
fn memory() -> Storage {
    let base = "/media/".parse().unwrap();
    Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(signing_key()))
}

fn serve(storage: &Storage) -> Serve {
    Serve::for_storage(storage).unwrap().strip_mount_path()
}

async fn download(storage: &Storage, key: &str) -> String {
    storage.url(key).expires_in(MINUTE).await.unwrap().to_string()
}

async fn upload(storage: &Storage, key: &str) -> String {
    storage.url(key).method(UrlMethod::Put).expires_in(MINUTE).await.unwrap().to_string()
}

fn configured(driver: &str, options: &[(&str, &str)]) -> storage_core::Result<Storage> {
    let options =
        options.iter().fold(Options::new(), |options, (name, value)| options.with(*name, *value));
    let mut registry = Registry::with_memory();
    storage_fs::register(&mut registry);
    registry.open_config(&StorageConfig::new(driver, options)?)
}

#[tokio::test]
async fn a_link_that_is_signed_through_a_layer_is_accepted_only_for_its_method_and_key() {
    for (layer, prefix, wrap) in LAYERS {
        let storage = Storage::from_arc(wrap(Arc::clone(memory().driver())));
        storage.save("a.txt", "hello").await.unwrap();
        storage.save("b.txt", "other").await.unwrap();
        let serve = serve(&storage);
        let link = download(&storage, "a.txt").await;
        assert!(link.starts_with(&format!("/media/{prefix}a.txt?X-Storage-")), "{layer}: {link}");

        assert_eq!(get(&serve, &link, &[]).await.text(), "hello", "{layer}");
        assert_eq!(head(&serve, &link, &[]).await.status, StatusCode::OK, "{layer}");
        let uploaded = put(&serve, &upload(&storage, "new.txt").await, &[], b"new").await;
        assert_eq!(uploaded.status, StatusCode::CREATED, "{layer}");
        assert_eq!(storage.read_text("new.txt").await.unwrap(), "new", "{layer}");

        let query = link.split_once('?').unwrap().1;
        let unsigned = format!("/media/{prefix}a.txt");
        let other_key = format!("/media/{prefix}b.txt?{query}");
        let without_prefix = format!("/media/a.txt?{query}");
        let other_expiry = link.replace("X-Storage-Expires=", "X-Storage-Expires=9");
        let upload = upload(&storage, "a.txt").await;
        for path in [&unsigned, &other_key, &other_expiry, &upload] {
            let response = get(&serve, path, &[]).await;
            assert_eq!(response.status, StatusCode::FORBIDDEN, "{layer}: {path}");
        }
        if !prefix.is_empty() {
            let response = get(&serve, &without_prefix, &[]).await;
            assert_eq!(response.status, StatusCode::FORBIDDEN, "{layer}");
        }
        assert_eq!(put(&serve, &link, &[], b"x").await.status, StatusCode::FORBIDDEN, "{layer}");
        assert_eq!(storage.read_text("a.txt").await.unwrap(), "hello", "{layer}");
    }
}

#[tokio::test]
async fn an_expired_link_is_refused_with_and_without_a_prefix() {
    for (prefix, signature) in [
        ("", "bceefb1e8435d8a3162ac931866f282132dabe779066b4aca4d0d49ed795f334"),
        ("in/side/", "b52293115c4de383821ac572bf1bfc3aee085c5cb6cae9b0914854e6b2a15ee1"),
    ] {
        let storage = memory().prefixed(prefix).unwrap();
        storage.save("a.txt", "hello").await.unwrap();
        let query = format!(
            "X-Storage-Method=GET&X-Storage-Expires=1000000000&X-Storage-Signature={signature}"
        );
        // It was valid before it expired.
        let linked = storage_core::Key::new(format!("{prefix}a.txt")).unwrap();
        let then = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let verifier = storage.link_verifier().unwrap();
        assert!(verifier.verify(UrlMethod::Get, &linked, &query, then).is_ok(), "{prefix}");

        let response = get(&serve(&storage), &format!("/media/{linked}?{query}"), &[]).await;
        assert_eq!(response.status, StatusCode::FORBIDDEN, "{prefix}");
    }
}

#[tokio::test]
async fn a_link_of_a_storage_with_another_secret_is_refused() {
    let mine = configured(
        "memory",
        &[("public_url", "/media/"), ("signing_key", "another secret of many bytes")],
    )
    .unwrap();
    mine.save("a.txt", "hello").await.unwrap();
    let (serve, other) = (serve(&mine), memory());
    assert_eq!(
        get(&serve, &download(&other, "a.txt").await, &[]).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        put(&serve, &upload(&other, "a.txt").await, &[], b"x").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(get(&serve, &download(&mine, "a.txt").await, &[]).await.text(), "hello");
}

#[tokio::test]
async fn a_read_only_storage_refuses_an_upload_link_that_its_writable_handle_signed() {
    let writable = memory();
    writable.save("a.txt", "hello").await.unwrap();
    let upload = upload(&writable, "a.txt").await;
    for read_only in [
        writable.read_only(),
        writable.read_only().layer(Observed::new),
        writable.layer(|inner| ReadOnly::new(Arc::new(Retry::new(inner, 1)))),
    ] {
        let serve = serve(&read_only);
        let refused = put(&serve, &upload, &[], b"new").await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
        let link = download(&read_only, "a.txt").await;
        assert_eq!(get(&serve, &link, &[]).await.text(), "hello");
    }
    // The same link works where the storage is writable.
    assert_eq!(put(&serve(&writable), &upload, &[], b"new").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_read_only_storage_refuses_uploads_by_a_link_with_the_key_of_the_service() {
    let storage = memory().read_only();
    let serve = Serve::new(storage).signing_key(signing_key());
    let link = link("a.txt", |options| options.method = UrlMethod::Put);
    assert_eq!(put(&serve, &link, &[], b"x").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_storage_does_not_open_the_objects_of_another_prefix_of_its_driver() {
    let whole = memory();
    let (a, ab) = (whole.prefixed("a").unwrap(), whole.prefixed("ab").unwrap());
    for (storage, text) in [(&a, "of a"), (&ab, "of ab"), (&whole, "of all")] {
        storage.save("x.txt", text).await.unwrap();
    }
    let of_a = serve(&a);
    for other in [&ab, &whole] {
        let link = download(other, "x.txt").await;
        assert_eq!(get(&of_a, &link, &[]).await.status, StatusCode::NOT_FOUND, "{other:?}");
        assert_eq!(head(&of_a, &link, &[]).await.status, StatusCode::NOT_FOUND, "{other:?}");
        let link = upload(other, "x.txt").await;
        let refused = put(&of_a, &link, &[], b"x").await.status;
        assert_eq!(refused, StatusCode::NOT_FOUND, "{other:?}");
    }
    assert_eq!(get(&of_a, &download(&a, "x.txt").await, &[]).await.text(), "of a");
    for (storage, text) in [(&a, "of a"), (&ab, "of ab"), (&whole, "of all")] {
        assert_eq!(storage.read_text("x.txt").await.unwrap(), text);
    }
    // The whole storage contains the objects of its parts.
    assert_eq!(get(&serve(&whole), &download(&a, "x.txt").await, &[]).await.text(), "of a");
}

#[tokio::test]
async fn public_reads_serve_only_the_objects_of_the_prefix() {
    let whole = memory();
    let a = whole.prefixed("a").unwrap();
    a.save("x.txt", "of a").await.unwrap();
    whole.save("b/x.txt", "of b").await.unwrap();
    let serve = serve(&a).public_reads();
    assert_eq!(a.url("x.txt").await.unwrap().as_str(), "/media/a/x.txt");
    assert_eq!(get(&serve, "/media/a/x.txt", &[]).await.text(), "of a");
    for path in ["/media/b/x.txt", "/media/x.txt", "/media/a/b/x.txt"] {
        assert_eq!(get(&serve, path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let unsigned = put(&serve, "/media/a/x.txt", &[], b"x").await;
    assert_eq!(unsigned.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_storage_from_a_configuration_with_every_common_option_signs_links_for_its_service() {
    let root = TempDir::new().unwrap();
    let common = [
        ("public_url", "/media/"),
        ("signing_key", SECRET),
        ("prefix", "in/side"),
        ("timeout", "10s"),
        ("retries", "2"),
    ];
    let on_disk = [&common[..], &[("root", root.path().to_str().unwrap())]].concat();
    for (driver, options) in [("memory", &common[..]), ("fs", &on_disk)] {
        let storage = configured(driver, options).unwrap();
        let can = storage.info().capabilities;
        assert!(can.public_url && can.signed_get && can.signed_put, "{driver}");
        let serve = serve(&storage);
        let uploaded = put(&serve, &upload(&storage, "a.txt").await, &[], b"hello").await;
        assert_eq!(uploaded.status, StatusCode::CREATED, "{driver}");
        let link = download(&storage, "a.txt").await;
        assert!(link.starts_with("/media/in/side/a.txt?"), "{driver}: {link}");
        assert_eq!(get(&serve, &link, &[]).await.text(), "hello", "{driver}");
    }
}

#[tokio::test]
async fn a_service_in_axum_accepts_the_links_below_its_mount_path() {
    let root = TempDir::new().unwrap();
    for base in ["/media/", "/a/b", "https://media.example.com/files/"] {
        let fs = Fs::builder(root.path())
            .public_url(base.parse().unwrap())
            .signing_key(signing_key())
            .build();
        let storage = Storage::new(fs.unwrap()).prefixed("in").unwrap();
        storage.save("a b.txt", "hello").await.unwrap();
        let serve = Serve::for_storage(&storage).unwrap();
        let mut router = Router::new().nest_service(serve.mount_path(), serve.clone());
        let link = download(&storage, "a b.txt").await;
        let path = link.strip_prefix("https://media.example.com").unwrap_or(&link);
        let response = router.call(request(Method::GET, path, &[])).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{base}");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        let unsigned = request(Method::GET, path.split('?').next().unwrap(), &[]);
        let unsigned = router.call(unsigned).await.unwrap();
        assert_eq!(unsigned.status(), StatusCode::FORBIDDEN, "{base}");
    }
}

#[tokio::test]
async fn the_mount_path_is_the_path_of_the_public_url() {
    for (base, expected) in [
        ("/media/", "/media"),
        ("/a b/c", "/a%20b/c"),
        ("/", "/"),
        ("https://media.example.com", "/"),
        ("https://example.com/media//", "/media"),
    ] {
        let base = base.parse().unwrap();
        let storage =
            Memory::storage().layer(|inner| PublicUrl::new(inner, base).signing_key(signing_key()));
        storage.save("a.txt", "hello").await.unwrap();
        let serve = serve(&storage);
        assert_eq!(serve.mount_path(), expected);
        let link = storage.url("a.txt").expires_in(MINUTE).await.unwrap();
        assert_eq!(get(&serve, link.as_str(), &[]).await.status, StatusCode::OK, "{link:?}");
    }
    assert_eq!(Serve::new(Memory::storage()).mount_path(), "/");
}

#[tokio::test]
async fn a_path_outside_of_the_mount_path_is_404() {
    let storage = memory();
    storage.save("a.txt", "hello").await.unwrap();
    let serve = serve(&storage);
    let link = download(&storage, "a.txt").await;
    let below = link.strip_prefix("/media").unwrap();
    for path in [below.to_owned(), format!("/mediax{below}"), format!("/x/media{below}")] {
        assert_eq!(get(&serve, &path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // Without `strip_mount_path`, a router has removed it.
    let nested = Serve::for_storage(&storage).unwrap();
    assert_eq!(get(&nested, below, &[]).await.text(), "hello");
}

#[test]
fn a_storage_that_cannot_sign_links_is_refused_with_the_options_to_set() {
    let root = TempDir::new().unwrap();
    let root = ("root", root.path().to_str().unwrap());
    let public = ("public_url", "/media/");
    for (driver, options, missing) in [
        ("memory", vec![], "public_url and signing_key"),
        ("memory", vec![public], "signing_key"),
        ("fs", vec![root], "public_url"),
        ("fs", vec![root, public], "signing_key"),
    ] {
        let storage = configured(driver, &options).unwrap();
        let error = Serve::for_storage(&storage).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{driver} {options:?}");
        assert!(error.message().contains(missing), "{driver} {options:?}: {error}");
        assert_eq!(error.driver(), Some(driver));
    }
}

#[test]
fn the_link_options_of_memory_are_those_of_fs() {
    let secret = ("signing_key", SECRET);
    let error = configured("memory", &[secret]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("signing_key needs public_url"), "{error}");
    let short = [("public_url", "/media/"), ("signing_key", "short and secret")];
    let error = configured("memory", &[short[0], ("signing_key", "aaaaaaaaaaaaaaaaaaaa")]);
    assert!(error.unwrap_err().message().contains("openssl rand"));
    assert!(configured("memory", &short).is_ok());
}

#[test]
fn no_debug_output_contains_the_signing_key() {
    let storage = configured(
        "memory",
        &[("public_url", "/media/"), ("signing_key", SECRET), ("prefix", "in")],
    )
    .unwrap();
    let serve = Serve::for_storage(&storage).unwrap();
    let verifier = storage.link_verifier().unwrap();
    for shown in [
        format!("{storage:?}"),
        format!("{:?}", storage.driver()),
        format!("{serve:?}"),
        format!("{verifier:?}"),
        format!("{:?}", Serve::new(storage).signing_key(signing_key())),
    ] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}
