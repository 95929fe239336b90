//! `ServedRelease`: what visitors of a website see while releases replace each other.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::time::Duration;

use common::{Clock, site};
use http::Request;
use http_body_util::BodyExt;
use storage_core::{Memory, Storage};
use storage_publish::{PublishConfig, PublishOptions, ServedRelease, publish, rollback};
use storage_serve::website::Website;

/// A website that looks for another release on each request.
async fn website(destination: &Storage) -> Website {
    let release = ServedRelease::load(destination).await.unwrap();
    Website::new(destination.clone(), release.refresh_after(Duration::ZERO))
}

/// Sends a GET. Returns the status, the encoding and the body.
async fn get(website: &Website, path: &str, accepted: &str) -> (u16, String, Vec<u8>) {
    let request = Request::get(path).header("accept-encoding", accepted).body(()).unwrap();
    let response = website.handle(request).await;
    let encoding = response.headers().get("content-encoding");
    let encoding = encoding.map_or("", |value| value.to_str().unwrap()).to_owned();
    let status = response.status().as_u16();
    (status, encoding, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

async fn text(website: &Website, path: &str) -> (u16, String) {
    let (status, _, body) = get(website, path, "identity").await;
    (status, String::from_utf8(body).unwrap())
}

/// Returns the files that a page names.
async fn assets_of(website: &Website, path: &str) -> Vec<String> {
    text(website, path).await.1.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_release_is_visible_as_a_whole_after_it_became_current() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    let website = website(&destination).await;
    let first = assets_of(&website, "/").await;
    publish(&site("2"), &destination, &clock.options()).await.unwrap();
    let second = assets_of(&website, "/").await;
    assert_ne!(first, second);
    // Pages of the first release, which browsers still show, need its files.
    for asset in first.iter().chain(&second) {
        assert_eq!(text(&website, &format!("/{asset}")).await.0, 200, "{asset}");
    }
    rollback(&destination, None, &clock.options()).await.unwrap();
    assert_eq!(assets_of(&website, "/").await, first);
}

#[tokio::test]
async fn pages_come_from_the_copy_of_the_release() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    let website = website(&destination).await;
    let page = text(&website, "/").await;
    // As a publish does that writes its pages and has not switched the pointer yet.
    destination.save("index.html", "a page of the next release").await.unwrap();
    assert_eq!(text(&website, "/").await, page);
}

#[tokio::test]
async fn a_client_gets_the_best_encoding_that_it_accepts() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    let config: PublishConfig = toml::from_str(r#"encodings = ["gzip", "br"]"#).unwrap();
    let options = clock.with(PublishOptions::from_config(&config).unwrap());
    publish(&site("1"), &destination, &options).await.unwrap();
    let website = website(&destination).await;
    let style = format!("/{}", assets_of(&website, "/").await[0]);
    let (_, _, plain) = get(&website, &style, "identity").await;
    for (accepted, expected) in [("gzip, br", "br"), ("gzip", "gzip")] {
        let (status, encoding, body) = get(&website, &style, accepted).await;
        assert_eq!((status, &*encoding), (200, expected));
        assert!(body.len() < plain.len());
    }
}

#[tokio::test]
async fn nothing_but_releases_is_served() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    destination.save("private.txt", "of another program").await.unwrap();
    let website = website(&destination).await;
    for path in ["/private.txt", "/.anystorage-publish/current.json", "/no-such-page"] {
        assert_eq!(text(&website, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn the_loaded_release_stays_if_the_pointer_cannot_be_read() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    let website = website(&destination).await;
    let page = text(&website, "/").await;
    destination.save(storage_publish::POINTER_KEY, "no JSON").await.unwrap();
    assert_eq!(text(&website, "/").await, page);
}

#[tokio::test]
async fn a_destination_without_a_release_is_an_error() {
    let error = ServedRelease::load(&Memory::storage()).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}
