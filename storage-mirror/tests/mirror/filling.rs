//! Misses: concurrent requests share one fetch, and failed fetches store nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::json;
use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Key, Memory, Operation, Storage, UrlMethod, UrlOptions};
use storage_testkit::http::{Gate, Peer, Response};

use crate::common::{Mirror, PATIENCE, cache_status, faulty, pattern};
use crate::origin::{chunked, in_two_halves, object, storage};

const LARGE: usize = 3_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_fills_the_cache_and_later_ones_send_origin_nothing() {
    let (origin, faults) = faulty();
    origin.save("a/b.txt", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    let (status, cache, body) = mirror.fetch("/a/b.txt").await;
    assert_eq!((status.as_u16(), &*body), (200, "hello"));
    assert!(cache.contains("fwd=uri-miss") && cache.contains("stored"), "{cache}");
    mirror.until("in_flight", 0).await;
    let broken = faults.on(Operation::Open).fail(ErrorKind::Unexpected);
    for path in ["/a/b.txt", "/download/a/b.txt"] {
        let (status, cache, body) = mirror.fetch(path).await;
        assert_eq!((status.as_u16(), &*body), (200, "hello"));
        assert!(cache.starts_with("anystorage; hit; ttl="), "{cache}");
    }
    assert_eq!((faults.calls(Operation::Open), broken.fired()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_concurrent_requests_share_one_fetch() {
    let (origin, faults) = faulty();
    let bytes = pattern(300_000);
    origin.save("a.bin", bytes.clone()).await.unwrap();
    let held = faults.on(Operation::Open).call(1).hold();
    let mirror = Arc::new(Mirror::of(origin, json!({})));
    let requests = (0..100).map(|_| {
        let mirror = Arc::clone(&mirror);
        tokio::spawn(
            async move { mirror.get("/a.bin").send().await.unwrap().bytes().await.unwrap() },
        )
    });
    let requests: Vec<_> = requests.collect();
    held.reached().await;
    held.release();
    for body in join_all(requests).await {
        assert!(body.unwrap() == bytes, "the bytes differ");
    }
    assert_eq!(faults.calls(Operation::Open), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_read_an_object_while_it_arrives() {
    let gate = Gate::new();
    let (bytes, held) = (pattern(LARGE), gate.clone());
    let sent = bytes.clone();
    let origin = Peer::start(move |_| {
        let (first, rest) = sent.split_at(LARGE / 2);
        object().body(first.to_vec()).wait(&held).body(rest.to_vec())
    });
    let mirror = Mirror::of(storage(&origin), json!({}));
    let mut leader = mirror.get("/a").send().await.unwrap();
    let mut follower = mirror.get("/a").send().await.unwrap();
    assert!(cache_status(&follower).contains("collapsed"));
    let (mut led, mut followed) = (Vec::new(), Vec::new());
    // Both receive the first half before origin sends the rest.
    while led.len() < LARGE / 2 {
        led.extend(leader.chunk().await.unwrap().unwrap());
    }
    while followed.len() < LARGE / 2 {
        followed.extend(follower.chunk().await.unwrap().unwrap());
    }
    let range = mirror.get("/a").header("range", "bytes=100-199").send().await.unwrap();
    assert_eq!(range.status().as_u16(), 206);
    assert_eq!(range.bytes().await.unwrap(), bytes[100..200]);
    gate.open();
    led.extend(leader.bytes().await.unwrap());
    followed.extend(follower.bytes().await.unwrap());
    assert!(led == bytes && followed == bytes);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_outlives_the_request_that_began_it() {
    let (origin, gate) = in_two_halves();
    let mirror = Mirror::of(storage(&origin), json!({}));
    let leader = mirror.get("/a").send().await.unwrap();
    drop(leader);
    gate.open();
    mirror.until("objects", 1).await;
    let (_, cache, body) = mirror.fetch("/a").await;
    assert!(cache.contains("hit"), "{cache}");
    assert_eq!((&*body, origin.requests().len()), ("0123456789", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_fill_resumes_at_its_offset() {
    let (origin, faults) = faulty();
    let bytes = pattern(LARGE);
    origin.save("a", bytes.clone()).await.unwrap();
    let broken = faults.on(Operation::Open).call(1).truncate(1_000_000);
    let mirror = Mirror::of(origin, json!({}));
    let body = mirror.get("/a").send().await.unwrap().bytes().await.unwrap();
    assert!(body == bytes);
    assert_eq!(broken.fired(), 1);
    mirror.until("objects", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_origin_cannot_finish_is_an_error_and_is_not_stored() {
    let (origin, faults) = faulty();
    origin.save("a", pattern(LARGE)).await.unwrap();
    let broken = faults.on(Operation::Open).call(1).truncate(1_000_000);
    // Neither the fill nor its reader can resume.
    let gone =
        [2, 3].map(|call| faults.on(Operation::Open).call(call).fail(ErrorKind::PermissionDenied));
    let mirror = Mirror::of(origin, json!({}));
    let mut response = mirror.get("/a").send().await.unwrap();
    let mut received = 0;
    let failure = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => received += chunk.len(),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(
        failure.is_some() && received <= 1_000_000,
        "the body ended without an error after {received} bytes"
    );
    assert_eq!(broken.fired(), 1);
    assert_eq!(gone.map(|gone| gone.fired()), [1, 1]);
    mirror.until("in_flight", 0).await;
    assert_eq!(mirror.figure("objects").await, 0);
    faults.clear();
    // The next request begins a new fill.
    assert_eq!(mirror.get("/a").send().await.unwrap().bytes().await.unwrap(), pattern(LARGE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_without_its_last_chunk_is_not_stored() {
    let origin = Peer::start(|_| chunked().body("5\r\nhello\r\n"));
    let mirror = Mirror::of(storage(&origin), json!({}));
    let response = mirror.get("/a").send().await.unwrap();
    assert!(response.status().is_server_error(), "{}", response.status());
    mirror.until("in_flight", 0).await;
    assert_eq!(mirror.figure("objects").await, 0);
    assert!(!origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_with_the_connection_is_served_and_not_stored() {
    let response = "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"v1\"\r\n\r\nhello";
    let origin = Peer::start(move |_| Response::raw(response).close());
    let mirror = Mirror::of(storage(&origin), json!({}));
    let (status, _, body) = mirror.fetch("/a").await;
    assert_eq!((status.as_u16(), &*body), (200, "hello"));
    mirror.until("in_flight", 0).await;
    assert_eq!(mirror.figure("objects").await, 0);
}

/// Returns an origin with chunked bodies, which announces no size, and the number of its GET
/// requests.
fn without_length(len: usize) -> (Peer, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let origin = Peer::start(move |request| {
        if request.method == "GET" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        chunked().body(format!("{len:x}\r\n")).body(pattern(len)).body("\r\n0\r\n\r\n")
    });
    (origin, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_a_length_is_stored_once_it_is_complete() {
    let (origin, sent) = without_length(LARGE);
    let mirror = Arc::new(Mirror::of(
        storage(&origin),
        json!({ "max_size": "16MiB", "max_object_size": "8MiB" }),
    ));
    let requests = (0..10).map(|_| {
        let mirror = Arc::clone(&mirror);
        tokio::spawn(async move { mirror.get("/a").send().await.unwrap().bytes().await.unwrap() })
    });
    for body in join_all(requests).await {
        assert!(body.unwrap() == pattern(LARGE));
    }
    mirror.until("in_flight", 0).await;
    assert_eq!((mirror.figure("objects").await, mirror.figure("reserved_bytes").await), (1, 0));
    let response = mirror.get("/a").header("range", "bytes=10-19").send().await.unwrap();
    assert!(cache_status(&response).contains("hit"), "{}", cache_status(&response));
    assert_eq!(response.bytes().await.unwrap(), pattern(LARGE)[10..20]);
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_fill_the_disk_through_an_origin_that_states_no_length() {
    let cache = tempfile::TempDir::new().unwrap();
    let (origin, _) = without_length(LARGE);
    let options = json!({ "max_size": "4MiB", "max_object_size": "2MiB" });
    let mirror = Mirror::at(cache.path(), storage(&origin), options);
    // Each object exceeds `max_object_size`, and its client reads nothing yet.
    let mut readers = Vec::new();
    for number in 0..10 {
        let response = mirror.get(&format!("/{number}")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert!(!response.headers().contains_key("content-length"));
        readers.push(response);
        let kept = mirror.figure("bytes").await + mirror.figure("reserved_bytes").await;
        assert!(kept <= 4 << 20, "{kept} bytes");
        assert!(files_below(cache.path()) <= 5 << 20, "{} bytes", files_below(cache.path()));
    }
    // The bodies that were passed through are complete.
    for reader in readers {
        assert!(reader.bytes().await.unwrap() == pattern(LARGE));
    }
    assert_eq!(mirror.figure("objects").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_of_an_object_without_a_length_has_no_content_length_and_downloads_nothing() {
    // The body of GET never ends, so a download of it would time out.
    let origin = Peer::start(move |request| {
        let begun = chunked().body(format!("{:x}\r\n", 2 * LARGE)).body(pattern(LARGE));
        if request.method == "GET" { begun.stall() } else { begun }
    });
    let mirror = Mirror::of(storage(&origin), json!({}));
    for _ in 0..3 {
        let head = mirror.client.head(format!("{}/a", mirror.url)).timeout(PATIENCE).send();
        let response = head.await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert!(!response.headers().contains_key("content-length"), "{:?}", response.headers());
    }
}

/// Returns the total size of all files below a directory.
fn files_below(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => files_below(&entry.path()),
        found => found.map_or(0, |found| found.len()),
    };
    entries.map(size).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_too_large_is_passed_through() {
    let origin = Memory::storage();
    origin.save("a", pattern(LARGE)).await.unwrap();
    let mirror = Mirror::of(origin, json!({ "max_object_size": "1MiB" }));
    for _ in 0..2 {
        let response = mirror.get("/a").send().await.unwrap();
        assert!(cache_status(&response).contains("too large"));
        assert!(response.bytes().await.unwrap() == pattern(LARGE));
    }
    assert_eq!(mirror.figure("objects").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_use_never_exceeds_max_size() {
    let origin = Memory::storage();
    for number in 0..20 {
        origin.save(&*format!("{number}"), pattern(300_000)).await.unwrap();
    }
    let mirror = Mirror::of(origin, json!({ "max_size": "1MiB", "max_object_size": "1MiB" }));
    for number in 0..20 {
        let body = mirror.get(&format!("/{number}")).send().await.unwrap().bytes().await.unwrap();
        assert!(body == pattern(300_000));
        assert!(mirror.figure("bytes").await + mirror.figure("reserved_bytes").await <= 1 << 20);
        mirror.until("in_flight", 0).await;
    }
    assert!(mirror.figure("evicted_total").await >= 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_to_the_end_after_a_purge() {
    let origin = Memory::storage();
    // More than the buffers of the sockets hold, so that the server reads on after the purge.
    let bytes = pattern(16_000_000);
    origin.save("a", bytes.clone()).await.unwrap();
    let mirror = Mirror::of(origin.clone(), json!({}));
    mirror.get("/a").send().await.unwrap().bytes().await.unwrap();
    mirror.until("objects", 1).await;
    let mut reader = mirror.get("/a").send().await.unwrap();
    assert!(cache_status(&reader).contains("hit"));
    let mut read = reader.chunk().await.unwrap().unwrap().to_vec();
    origin.save("a", "new").await.unwrap();
    assert_eq!(mirror.post("/purge/a").send().await.unwrap().status().as_u16(), 200);
    assert_eq!(mirror.fetch("/a").await.2, "new");
    read.extend(reader.bytes().await.unwrap());
    assert!(read == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_wins_over_a_fill_that_began_before_it() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Peer::start(move |_| object().body("old...").wait(&held).body("...."));
    let mirror = Mirror::of(storage(&origin), json!({}));
    let reader = mirror.get("/a").send().await.unwrap();
    assert_eq!(mirror.post("/purge/a").send().await.unwrap().status().as_u16(), 200);
    origin.set_script(|_| object().body("new"));
    // A request after the purge does not join the old fill.
    assert_eq!(mirror.fetch("/a").await.2, "new");
    gate.open();
    assert_eq!(reader.text().await.unwrap(), "old.......");
    mirror.until("in_flight", 0).await;
    let (_, cache, body) = mirror.fetch("/a").await;
    assert!(cache.contains("hit"), "{cache}");
    assert_eq!(body, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_match_origins_checksum_are_not_stored() {
    let (origin, faults) = faulty();
    let sum = storage_core::Checksum::of(storage_core::ChecksumAlgorithm::Sha256, b"hello");
    origin.save("a", "hello").expect_checksum(sum).await.unwrap();
    let has_sum = !origin.stat("a").await.unwrap().checksums.is_empty();
    assert!(has_sum, "the origin keeps checksums");
    let flipped = faults.on(Operation::Open).call(1).corrupt(1);
    let mirror = Mirror::of(origin, json!({}));
    let whole = match mirror.get("/a").send().await {
        Ok(response) => response.bytes().await.is_ok(),
        Err(_) => false,
    };
    assert!(!whole, "wrong bytes were served without an error");
    assert_eq!(flipped.fired(), 1);
    mirror.until("in_flight", 0).await;
    assert_eq!(mirror.figure("objects").await, 0);
    assert_eq!(mirror.fetch("/a").await.2, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_changed_on_the_disk_is_never_served() {
    let cache = tempfile::TempDir::new().unwrap();
    let (origin, faults) = faulty();
    let bytes = pattern(LARGE);
    origin.save("a", bytes.clone()).await.unwrap();
    let mirror = Mirror::at(cache.path(), origin, json!({}));
    assert!(mirror.get("/a").send().await.unwrap().bytes().await.unwrap() == bytes);
    mirror.until("objects", 1).await;
    let flipped = flip_in_the_middle_of_files(cache.path(), LARGE as u64);
    assert_eq!(flipped, 1);
    // The mirror fetches the block again, and the client receives the right bytes.
    assert!(mirror.get("/a").send().await.unwrap().bytes().await.unwrap() == bytes);
    assert_eq!(mirror.figure("corrupt_total").await, 1);
    assert_eq!(mirror.figure("rescued_total").await, 1);
    let opened = faults.calls(Operation::Open);
    let (_, cache_status, _) = {
        let response = mirror.get("/a").send().await.unwrap();
        (response.status(), cache_status(&response), response.bytes().await.unwrap())
    };
    assert!(cache_status.contains("uri-miss"), "{cache_status}");
    assert_eq!(faults.calls(Operation::Open), opened + 1);
}

/// Flips a bit in the middle of each file of at least `len` bytes and returns their number.
fn flip_in_the_middle_of_files(directory: &std::path::Path, len: u64) -> usize {
    use std::os::unix::fs::FileExt;
    let mut flipped = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flipped += flip_in_the_middle_of_files(&path, len);
        } else if path.metadata().unwrap().len() >= len {
            let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, len / 2).unwrap();
            byte[0] ^= 1;
            file.write_all_at(&byte, len / 2).unwrap();
            flipped += 1;
        }
    }
    flipped
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_can_be_redirected_to_origin_while_it_fills() {
    let files = tempfile::TempDir::new().unwrap();
    let public = "https://origin.example.com/files/".parse().unwrap();
    let fs = storage_fs::Fs::builder(files.path()).public_url(public).build().unwrap();
    let origin = Storage::new(fs);
    origin.save("a b.txt", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "redirect_on_miss": true }));
    let response = mirror.get("/a%20b.txt").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 302);
    assert_eq!(response.headers()["location"], "https://origin.example.com/files/a%20b.txt");
    mirror.until("objects", 1).await;
    assert_eq!(mirror.fetch("/a%20b.txt").await.2, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_not_redirected_to_a_relative_link_of_origin() {
    let files = tempfile::TempDir::new().unwrap();
    let public = "/files/".parse().unwrap();
    let fs = storage_fs::Fs::builder(files.path()).public_url(public).build().unwrap();
    let origin = Storage::new(fs);
    origin.save("a.txt", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "redirect_on_miss": true }));
    assert_eq!(mirror.fetch("/a.txt").await.2, "hello");
}

/// Returns an origin of files with signed links, and its signing key.
fn signing_origin(files: &tempfile::TempDir) -> (Storage, SigningKey) {
    let key = SigningKey::new("the signing key of origin").unwrap();
    let public = "https://origin.example.com/files/".parse().unwrap();
    let fs = storage_fs::Fs::builder(files.path()).public_url(public).signing_key(key.clone());
    (Storage::new(fs.build().unwrap()), key)
}

const SECRET: &str = "the signing key of the mirror";

/// Returns the path of a link to the private mirror that is valid for a minute and sets the
/// response headers of a CSV download.
fn minute_link(key: &str) -> String {
    let mut options = UrlOptions::default();
    options.expires_in = Some(Duration::from_secs(60));
    options.response_content_disposition = Some("attachment; filename=t.csv".to_owned());
    options.response_content_type = Some("text/csv".to_owned());
    let link = SigningKey::new(SECRET).unwrap();
    let link = link
        .sign(&"http://a/".parse().unwrap(), &Key::new(key).unwrap(), &options)
        .unwrap()
        .url()
        .unwrap();
    format!("{}?{}", link.path(), link.query().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_origin_has_the_headers_and_the_expiry_of_the_signed_link() {
    let files = tempfile::TempDir::new().unwrap();
    let (origin, signing_key) = signing_origin(&files);
    origin.save("a.txt", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "redirect_on_miss": true, "signing_key": SECRET }));
    let response = mirror.get(&minute_link("a.txt")).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 302);
    let location: reqwest::Url = response.headers()["location"].to_str().unwrap().parse().unwrap();
    let verify = |now| {
        signing_key.verify(
            UrlMethod::Get,
            &Key::new("a.txt").unwrap(),
            location.query().unwrap(),
            now,
        )
    };
    let grant = verify(SystemTime::now()).unwrap();
    assert_eq!(grant.content_disposition.as_deref(), Some("attachment; filename=t.csv"));
    assert_eq!(grant.content_type.as_deref(), Some("text/csv"));
    verify(SystemTime::now() + Duration::from_secs(62)).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_mirror_does_not_redirect_to_a_public_link() {
    let files = tempfile::TempDir::new().unwrap();
    let public = "https://origin.example.com/files/".parse().unwrap();
    let origin =
        Storage::new(storage_fs::Fs::builder(files.path()).public_url(public).build().unwrap());
    origin.save("a.txt", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "redirect_on_miss": true, "signing_key": SECRET }));
    let response = mirror.get(&minute_link("a.txt")).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=t.csv");
    assert_eq!(response.text().await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_free_space_is_passed_through() {
    let gate = Gate::new();
    let held = gate.clone();
    let bytes = pattern(700_000);
    let sent = bytes.clone();
    let origin = Peer::start(move |request| {
        let (first, rest) = sent.split_at(1000);
        let begun = object().body(first.to_vec());
        let begun = if request.target == "/slow" { begun.wait(&held) } else { begun };
        begun.body(rest.to_vec())
    });
    let mirror =
        Mirror::of(storage(&origin), json!({ "max_size": "1MiB", "max_object_size": "1MiB" }));
    let slow = mirror.get("/slow").send().await.unwrap();
    // The slow fill has reserved the space.
    let other = mirror.get("/other").send().await.unwrap();
    assert_eq!(other.status().as_u16(), 200);
    assert!(cache_status(&other).contains("no room"), "{}", cache_status(&other));
    assert!(other.bytes().await.unwrap() == bytes);
    gate.open();
    assert!(slow.bytes().await.unwrap() == bytes);
    mirror.until("objects", 1).await;
}
