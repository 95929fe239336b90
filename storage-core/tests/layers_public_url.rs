//! The layer for public links: which links it makes, and which are the driver's.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::time::Duration;

use storage_core::layers::{Prefixed, PublicUrl};
use storage_core::{Driver, Key, Operation, Storage, UrlMethod, UrlOptions};
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
