//! The layer for public links: which links it makes, and which it leaves to the driver.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::time::Duration;

use storage_core::layers::{Prefixed, PublicUrl, ReadOnly};
use storage_core::signed_url::SigningKey;
use storage_core::{Driver, ErrorKind, Key, Memory, Operation, Storage, UrlMethod, UrlOptions};
use storage_testkit::scripted::Scripted;

fn layer(scripted: &Scripted, base: &str) -> PublicUrl {
    PublicUrl::new(scripted.arc(), base.parse().unwrap())
}

#[tokio::test]
async fn a_public_link_is_the_base_and_the_encoded_key() {
    let scripted = Scripted::new();
    for base in ["https://cdn.example/files", "https://cdn.example/files/"] {
        let storage = Storage::new(layer(&scripted, base));
        let link = storage.url("a b/50%?#.png").await.unwrap();
        assert_eq!(link.as_str(), "https://cdn.example/files/a%20b/50%25%3F%23.png");
        assert_eq!((link.method, link.expires_at), (UrlMethod::Get, None));
    }
    assert_eq!(scripted.count(Operation::Url), 0);
}

#[tokio::test]
async fn a_public_link_for_head_is_the_same_url() {
    let link = Storage::new(layer(&Scripted::new(), "https://cdn.example"))
        .url("a")
        .method(UrlMethod::Head)
        .await;
    let link = link.unwrap();
    assert_eq!((link.as_str(), link.method), ("https://cdn.example/a", UrlMethod::Head));
}

#[tokio::test]
async fn a_signed_link_is_never_replaced_by_a_public_one() {
    let scripted = Scripted::new();
    let storage = Storage::new(layer(&scripted, "https://cdn.example"));
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post] {
        let link =
            storage.url("a").method(method).expires_in(Duration::from_secs(9)).await.unwrap();
        assert_eq!(link.as_str(), "https://inner.example/a");
    }
    assert_eq!(scripted.count(Operation::Url), 4);
}

#[tokio::test]
async fn a_link_for_uploads_is_never_public() {
    let scripted = Scripted::new();
    for method in [UrlMethod::Put, UrlMethod::Post] {
        let mut options = UrlOptions::default();
        options.method = method;
        let link = layer(&scripted, "https://cdn.example")
            .url(&Key::new("a").unwrap(), &options)
            .await
            .unwrap();
        assert_eq!(link.as_str(), "https://inner.example/a");
    }
}

#[tokio::test]
async fn a_prefix_around_the_layer_is_part_of_the_link() {
    let public = layer(&Scripted::new(), "https://cdn.example");
    let storage = Storage::new(Prefixed::new(std::sync::Arc::new(public), "media").unwrap());
    assert_eq!(storage.url("a").await.unwrap().as_str(), "https://cdn.example/media/a");
}

fn signing(scripted: &Scripted) -> Storage {
    let key = SigningKey::new("a secret of many bytes").unwrap();
    Storage::new(layer(scripted, "/media/").signing_key(key))
}

#[tokio::test]
async fn a_layer_with_a_signing_key_signs_links_for_get_head_and_put() {
    let scripted = Scripted::new();
    let storage = signing(&scripted);
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put] {
        let link = storage.url("a b").method(method).expires_in(Duration::from_secs(9)).await;
        let link = link.unwrap();
        let expected = format!("/media/a%20b?X-Storage-Method={}", method.as_str());
        assert!(link.as_str().starts_with(&expected), "{link}");
        assert_eq!(link.method, method);
        assert!(link.expires_at.is_some());
    }
    assert_eq!(storage.url("a b").await.unwrap().as_str(), "/media/a%20b");
    assert_eq!(scripted.count(Operation::Url), 0);
}

#[tokio::test]
async fn forms_are_made_by_the_driver_below_a_layer_with_a_signing_key() {
    let scripted = Scripted::new();
    let form =
        signing(&scripted).url("a").method(UrlMethod::Post).expires_in(Duration::from_secs(9));
    assert_eq!(form.await.unwrap().as_str(), "https://inner.example/a");
    assert_eq!(scripted.count(Operation::Url), 1);
}

#[tokio::test]
async fn a_layer_with_a_signing_key_around_a_read_only_storage_signs_no_uploads() {
    let key = SigningKey::new("a secret of many bytes").unwrap();
    let storage = Memory::storage().layer(ReadOnly::new);
    let storage =
        storage.layer(|inner| PublicUrl::new(inner, "/media/".parse().unwrap()).signing_key(key));
    let link = || storage.url("a").expires_in(Duration::from_secs(9));
    assert!(!storage.info().capabilities.signed_put);
    let refused = link().method(UrlMethod::Put).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(!storage.link_verifier().unwrap().accepts_uploads());
    assert!(link().await.is_ok());
}
