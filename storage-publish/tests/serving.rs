//! `ServedRelease`: what visitors of a website see while releases replace each other.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Clock, site};
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::BodyExt;
use storage_core::{Memory, Operation, Storage};
use storage_publish::{
    PLAIN_SHA256, POINTER_KEY, PublishConfig, PublishOptions, ServedRelease, manifest_key, publish,
    releases, rollback,
};
use storage_serve::website::Website;
use storage_testkit::faults::Faults;

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

/// Publishes a site with siblings, and returns the website and the path of its style.
async fn with_siblings(destination: &Storage) -> (Website, String) {
    let config: PublishConfig = toml::from_str(r#"encodings = ["gzip", "br"]"#).unwrap();
    let options = Clock::new().with(PublishOptions::from_config(&config).unwrap());
    publish(&site("1"), destination, &options).await.unwrap();
    let website = website(destination).await;
    let style = format!("/{}", assets_of(&website, "/").await[0]);
    (website, style)
}

async fn headers(website: &Website, path: &str, sent: &[(&str, &str)]) -> Response<Bytes> {
    let mut request = Request::get(path);
    for (name, value) in sent {
        request = request.header(*name, *value);
    }
    let (head, body) = website.handle(request.body(()).unwrap()).await.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn each_encoding_has_its_own_etag_and_ranges_and_every_response_varies() {
    let destination = Memory::storage();
    let (website, style) = with_siblings(&destination).await;
    let mut etags = Vec::new();
    for encoding in ["identity", "gzip", "br"] {
        let accept = ("accept-encoding", encoding);
        let whole = headers(&website, &style, &[accept]).await;
        let etag = whole.headers()["etag"].to_str().unwrap().to_owned();
        let part = headers(&website, &style, &[accept, ("range", "bytes=3-9")]).await;
        assert_eq!((part.status().as_u16(), part.body()), (206, &whole.body().slice(3..10)));
        assert_eq!(part.headers()["etag"], *etag);
        let known = headers(&website, &style, &[accept, ("if-none-match", &etag)]).await;
        assert_eq!(known.status(), 304);
        for response in [&whole, &part, &known] {
            assert_eq!(response.headers()["vary"], "accept-encoding");
        }
        etags.push(etag);
    }
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 3);
}

#[tokio::test]
async fn a_sibling_of_other_bytes_is_never_sent() {
    let destination = Memory::storage();
    let (website, style) = with_siblings(&destination).await;
    let plain = get(&website, &style, "identity").await.2;
    let sibling = format!("{}.br", &style[1..]);
    let stale = destination.stat(&sibling).await.unwrap().metadata;
    let mut of_other_bytes = stale.clone();
    of_other_bytes.user_metadata.insert(PLAIN_SHA256.to_owned(), "0".repeat(64));
    let unrelated = storage_core::Metadata::new().content_encoding("br");
    for metadata in [of_other_bytes, unrelated] {
        destination.save(&*sibling, "other bytes").metadata(metadata).await.unwrap();
        assert_eq!(get(&website, &style, "br").await, (200, String::new(), plain.clone()));
        let response =
            headers(&website, &style, &[("accept-encoding", "br"), ("if-none-match", "*")]).await;
        let etag = response.headers()["etag"].clone();
        let known = destination.stat(&style[1..]).await.unwrap().etag.unwrap();
        assert_eq!((response.status().as_u16(), etag), (304, known.to_string().parse().unwrap()));
    }
}

#[tokio::test]
async fn a_copy_of_the_destination_with_other_etags_is_served_in_the_best_encoding() {
    let (first, second) = (Memory::storage(), Memory::storage());
    let (_, style) = with_siblings(&first).await;
    for key in first.list("").keys().await.unwrap() {
        let object = first.open(&key).await.unwrap();
        let metadata = object.meta().metadata.clone();
        let bytes = object.bytes().await.unwrap();
        // Another save of the same key gives the object another version.
        second.save(&key, "").await.unwrap();
        second.save(&key, bytes).metadata(metadata).await.unwrap();
    }
    assert_eq!(get(&website(&second).await, &style, "br").await.1, "br");
}

#[tokio::test]
async fn a_request_opens_one_object_that_the_manifest_names() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let destination = faults.in_memory();
    let config: PublishConfig = toml::from_str(r#"encodings = ["gzip"]"#).unwrap();
    let options = clock.with(PublishOptions::from_config(&config).unwrap());
    publish(&site("1"), &destination, &options).await.unwrap();
    let release = ServedRelease::load(&destination).await.unwrap();
    let website =
        Website::new(destination.clone(), release.refresh_after(Duration::from_secs(3600)));
    let style = format!("/{}", assets_of(&website, "/").await[0]);
    let (opens, stats) = (faults.calls(Operation::Open), faults.calls(Operation::Stat));
    for (accepted, expected) in [("br, zstd", ""), ("br, gzip", "gzip"), ("identity", "")] {
        assert_eq!(get(&website, &style, accepted).await.1, expected);
    }
    assert_eq!(faults.calls(Operation::Open), opens + 3);
    assert_eq!(faults.calls(Operation::Stat), stats);
}

#[tokio::test]
async fn a_name_of_a_release_that_another_server_shows_already_is_found_at_once() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    let release = ServedRelease::load(&destination).await.unwrap();
    let slow = release.refresh_after(Duration::from_secs(3600));
    let website = Website::new(destination.clone(), slow);
    publish(&site("2"), &destination, &clock.options()).await.unwrap();
    let style = common::name_of(&site("2"), "css/app.css").to_owned();
    assert_eq!(text(&website, &format!("/{style}")).await.0, 200);
    assert_eq!(assets_of(&website, "/").await[0], style);
}

/// The release of a publish that did not complete leaves the list before older ones do.
#[tokio::test]
async fn a_name_of_two_releases_stays_when_the_first_one_leaves_the_list() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    for version in ["1", "2", "1"] {
        publish(&site(version), &destination, &clock.options()).await.unwrap();
    }
    let website = website(&destination).await;
    let style = format!("/{}", common::name_of(&site("1"), "css/app.css"));
    assert_eq!(text(&website, &style).await.0, 200);
    let pointer = destination.open(POINTER_KEY).await.unwrap().bytes().await.unwrap();
    let mut pointer: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
    let previous = pointer["previous"].as_array_mut().unwrap();
    assert_eq!(previous.len(), 2);
    let second = previous.remove(0)["release"].take();
    pointer["current"]["release"] = second;
    destination.save(POINTER_KEY, pointer.to_string()).await.unwrap();
    assert_eq!(text(&website, &style).await.0, 200);
}

#[tokio::test]
async fn many_requests_for_missing_paths_share_reads_of_the_pointer() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let destination = faults.in_memory();
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    let website = website(&destination).await;
    let held = faults.on(Operation::Open).of(POINTER_KEY).call(1).hold();
    let opens = faults.calls(Operation::Open);
    let requests = (0..50).map(|n| {
        let website = website.clone();
        async move { text(&website, &format!("/missing-{n}")).await.0 }
    });
    // All of them wait when the first one reaches the pointer.
    let release = async {
        held.reached().await;
        held.release();
    };
    let (statuses, ()) = tokio::join!(join_all(requests), release);
    assert_eq!((statuses, held.fired()), (vec![404; 50], 1));
    // The first one looks, the second one looks for all that came later.
    assert!(faults.calls(Operation::Open) - opens <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_pointer_that_does_not_respond_delays_a_visitor_by_five_seconds_at_most() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let destination = faults.in_memory();
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    let website = website(&destination).await;
    let page = text(&website, "/").await;
    let held = faults.on(Operation::Open).of(POINTER_KEY).hold();
    let began = tokio::time::Instant::now();
    assert_eq!(text(&website, "/").await, page);
    assert_eq!(held.fired(), 1);
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn a_server_that_starts_before_the_first_release_shows_it_once_it_is_there() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    let release = ServedRelease::on_demand(&destination).refresh_after(Duration::ZERO);
    let website = Website::new(destination.clone(), release);
    assert_eq!(text(&website, "/").await.0, 404);
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    assert_eq!(text(&website, "/").await.0, 200);
}

#[tokio::test]
async fn a_damaged_manifest_of_an_earlier_release_does_not_hide_the_current_one() {
    let (destination, clock) = (Memory::storage(), Clock::new());
    publish(&site("1"), &destination, &clock.options()).await.unwrap();
    let first = releases(&destination).await.unwrap().current.unwrap().release;
    publish(&site("2"), &destination, &clock.options()).await.unwrap();
    destination.save(manifest_key(&first).unwrap(), "no JSON").await.unwrap();
    assert_eq!(text(&website(&destination).await, "/").await.0, 200);
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
    destination.save(POINTER_KEY, "no JSON").await.unwrap();
    assert_eq!(text(&website, "/").await, page);
}

#[tokio::test]
async fn a_destination_without_a_release_is_an_error() {
    let error = ServedRelease::load(&Memory::storage()).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
async fn a_new_release_costs_the_reads_of_the_pointer_and_of_its_own_manifest() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let destination = faults.in_memory();
    let mut assets = Vec::new();
    for version in ["1", "2", "3"] {
        publish(&site(version), &destination, &clock.options()).await.unwrap();
        let website = website(&destination).await;
        assets.extend(assets_of(&website, "/").await);
    }
    let website = website(&destination).await;
    publish(&site("4"), &destination, &clock.options()).await.unwrap();
    let before = faults.calls(Operation::Open);
    assets.extend(assets_of(&website, "/").await);
    // The pointer, the manifest and the page.
    assert_eq!(faults.calls(Operation::Open) - before, 3);
    for asset in assets {
        assert_eq!(text(&website, &format!("/{asset}")).await.0, 200, "{asset}");
    }
}
