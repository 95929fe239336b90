//! Routes, access rules and limits of the mirror.

use std::time::Duration;

use serde_json::{Value, json};
use storage_core::signed_url::SigningKey;
use storage_core::{Key, Memory, Operation, UrlOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Mirror, PATIENCE, TOKEN, cache_status, faulty};

#[tokio::test(flavor = "multi_thread")]
async fn verify_responds_in_the_original_protocol() {
    let origin = Memory::storage();
    origin.save("a/b c.mp3", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    let (status, _, body) = mirror.fetch("/verify/a/b%20c.mp3").await;
    assert_eq!(status.as_u16(), 200);
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        document,
        json!({ "available": false, "file": "a/b c.mp3", "error": false, "error_msg": null })
    );
    // The request began a fetch of the object.
    mirror.until("objects", 1).await;
    let document: serde_json::Value =
        serde_json::from_str(&mirror.fetch("/verify/a/b%20c.mp3").await.2).unwrap();
    assert_eq!(document["available"], json!(true));
    let document: serde_json::Value =
        serde_json::from_str(&mirror.fetch("/verify/nope.mp3").await.2).unwrap();
    assert_eq!(document["available"], json!(false));
}

/// Sends a request head unchanged, because HTTP clients normalize paths, and returns the response.
async fn raw(mirror: &Mirror, request: &str) -> String {
    let mut stream = TcpStream::connect(mirror.url.trim_start_matches("http://")).await.unwrap();
    stream
        .write_all(format!("{request}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_a_key_is_refused() {
    let mirror = Mirror::of(Memory::storage(), json!({}));
    let paths = [
        "/..",
        "/../a",
        "/a/../b",
        "/%2e%2e/a",
        "/a%2f..%2fb",
        "/a%00",
        "//a",
        "/download//a",
        "/download/../a",
        "/a/",
        "/%ff",
        "/verify/..",
        "/verify/%2e%2e/a",
    ];
    for path in paths {
        let response = raw(&mirror, &format!("GET {path} HTTP/1.1")).await;
        assert!(response.starts_with("HTTP/1.1 4"), "{path}: {response}");
        assert!(!response.contains("\"available\":true"), "{path}: {response}");
    }
    assert_eq!(mirror.figure("origin_requests_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_keys_are_separate_objects() {
    let origin = Memory::storage();
    let keys = ["Foo.mp3", "foo.mp3", "x.mp3", "x.mp3?v=1", "x.mp3%3Fv=1"];
    for key in keys {
        origin.save(key, format!("this is {key}")).await.unwrap();
    }
    let mirror = Mirror::of(origin, json!({}));
    let paths = ["/Foo.mp3", "/foo.mp3", "/x.mp3", "/x.mp3%3Fv=1", "/x.mp3%253Fv=1"];
    for _ in 0..2 {
        for (path, key) in paths.iter().zip(keys) {
            assert_eq!(mirror.fetch(path).await.2, format!("this is {key}"));
        }
    }
    // The query is not part of the key, so it cannot fill the disk with copies.
    assert_eq!(mirror.fetch("/x.mp3?v=2").await.2, "this is x.mp3");
    // A client may receive all of an object shortly before it is stored.
    mirror.until("in_flight", 0).await;
    assert_eq!(mirror.figure("objects").await, keys.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_begins_like_a_route_is_reached_below_download() {
    let origin = Memory::storage();
    for key in ["purge", "metrics", "verify/a", "download/a"] {
        origin.save(key, format!("this is {key}")).await.unwrap();
    }
    let mirror = Mirror::of(origin, json!({}));
    for key in ["purge", "metrics", "verify/a", "download/a"] {
        assert_eq!(mirror.fetch(&format!("/download/{key}")).await.2, format!("this is {key}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_keys_with_an_allowed_prefix_are_served() {
    let origin = Memory::storage();
    for key in ["public/a", "private/a"] {
        origin.save(key, "hello").await.unwrap();
    }
    let mirror = Mirror::of(origin, json!({ "allow": ["public/"] }));
    assert_eq!(mirror.fetch("/public/a").await.0.as_u16(), 200);
    for path in ["/private/a", "/download/private/a", "/public", "/publi%63/../private/a"] {
        assert_eq!(mirror.fetch(path).await.0.as_u16(), 404, "{path}");
    }
    let (_, _, document) = mirror.fetch("/verify/private/a").await;
    assert!(document.contains("false"), "{document}");
    assert_eq!(mirror.figure("origin_requests_total").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_mirror_serves_signed_links_only() {
    let secret = "a secret of more than 16 bytes";
    let origin = Memory::storage();
    origin.save("a.txt", "hello").await.unwrap();
    origin.save("b.txt", "other").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "signing_key": secret }));
    let mut options = UrlOptions::default();
    options.expires_in = Some(Duration::from_secs(60));
    let key = Key::new("a.txt").unwrap();
    let base = format!("{}/download/", mirror.url).parse().unwrap();
    let link = SigningKey::new(secret).unwrap().sign(&base, &key, &options).unwrap();
    let query = link.query().unwrap().to_owned();
    for path in ["/a.txt", "/download/a.txt"] {
        assert_eq!(mirror.fetch(path).await.0.as_u16(), 403, "{path}");
        assert_eq!(mirror.fetch(&format!("{path}?{query}")).await.2, "hello", "{path}");
    }
    assert_eq!(mirror.fetch("/verify/a.txt").await.0.as_u16(), 403);
    assert_eq!(mirror.fetch(&format!("/verify/a.txt?{query}")).await.0.as_u16(), 200);
    // The signature of another key, and a modified signature.
    assert_eq!(mirror.fetch(&format!("/b.txt?{query}")).await.0.as_u16(), 403);
    assert_eq!(mirror.fetch(&format!("/a.txt?{query}0")).await.0.as_u16(), 403);
    let response = mirror.get(&format!("/a.txt?{query}")).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "private");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administration_requires_the_token() {
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    mirror.until("objects", 1).await;
    let url = |path: &str| format!("{}{path}", mirror.url);
    let client = &mirror.client;
    for token in [None, Some("wrong"), Some(""), Some("a-token-of-more-than-16-byte")] {
        for (method, path) in [
            ("POST", "/purge/a"),
            ("POST", "/purge?prefix="),
            ("POST", "/prefetch/a"),
            ("GET", "/metrics"),
            ("GET", "/status"),
        ] {
            let mut request = client.request(method.parse().unwrap(), url(path));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            assert_eq!(request.send().await.unwrap().status().as_u16(), 401, "{path} {token:?}");
        }
    }
    // A foreign page could make a browser with stored credentials send this.
    let forged =
        client.post(url("/purge?prefix=")).basic_auth("user", Some(TOKEN)).send().await.unwrap();
    assert_eq!(forged.status().as_u16(), 401);
    assert_eq!(mirror.figure("objects").await, 1);
    let purged = mirror.post("/purge?prefix=a").send().await.unwrap().text().await.unwrap();
    assert_eq!(purged, r#"{"purged":1}"#);
    let by_browser =
        client.get(url("/metrics")).basic_auth("user", Some(TOKEN)).send().await.unwrap();
    assert!(by_browser.text().await.unwrap().contains("anystorage_mirror_purges_total 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefetched_object_is_a_hit() {
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    assert_eq!(mirror.post("/prefetch/a").send().await.unwrap().status().as_u16(), 202);
    mirror.until("objects", 1).await;
    assert!(mirror.fetch("/a").await.1.contains("hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_returns_the_headers_of_get_and_fetches_nothing() {
    let origin = Memory::storage();
    origin.save("a.txt", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    for _ in 0..2 {
        let response = mirror.client.head(format!("{}/a.txt", mirror.url)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(
            (&response.headers()["content-length"], &response.headers()["content-type"]),
            (&"5".parse().unwrap(), &"text/plain; charset=utf-8".parse().unwrap())
        );
        assert_eq!(response.text().await.unwrap(), "");
        assert_eq!(mirror.figure("origin_requests_total").await, 0);
    }
    assert_eq!(
        mirror.client.head(format!("{}/nope", mirror.url)).send().await.unwrap().status().as_u16(),
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn head_of_a_missing_object_is_404_and_sends_origin_no_more_requests_than_get() {
    let (origin, faults) = faulty();
    let mirror = Mirror::of(origin, json!({ "negative_ttl": "1h" }));
    let head = async || {
        let response = mirror.client.head(format!("{}/nope", mirror.url)).send().await.unwrap();
        (response.status().as_u16(), cache_status(&response))
    };
    assert_eq!(head().await, (404, "anystorage; fwd=uri-miss; fwd-status=404".to_owned()));
    assert_eq!(mirror.fetch("/nope").await.0.as_u16(), 404);
    mirror.until("in_flight", 0).await;
    let calls = faults.calls(Operation::Stat);
    assert_eq!(head().await, (404, "anystorage; hit; detail=missing".to_owned()));
    assert_eq!(faults.calls(Operation::Stat), calls);
    assert_eq!((mirror.figure("missing_total").await, mirror.figure("failed_total").await), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_reports_whether_the_object_is_being_fetched() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").await.unwrap();
    let held = faults.on(Operation::Open).call(1).hold();
    let mirror = Mirror::of(origin, json!({}));
    let prefetch = async |path: &str| {
        let text = mirror.post(path).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(prefetch("/prefetch/a").await, json!({ "available": false, "fetching": true }));
    }
    held.reached().await;
    held.release();
    mirror.until("in_flight", 0).await;
    assert_eq!(prefetch("/prefetch/a").await, json!({ "available": true, "fetching": false }));
    assert_eq!(faults.calls(Operation::Open), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_with_wait_responds_when_the_object_is_cached_or_cannot_be() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").await.unwrap();
    origin.save("large", vec![b'x'; 2 << 20]).await.unwrap();
    let mirror = Mirror::of(origin, json!({ "max_object_size": "1MiB" }));
    let prefetch = async |path: &str| {
        let response = mirror.post(path).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap_or_default())
    };
    let held = faults.on(Operation::Open).call(1).hold();
    let pending = json!({ "available": false, "fetching": true });
    assert_eq!(prefetch("/prefetch/a?wait=1").await, (202, pending));
    held.reached().await;
    held.release();
    let cached = json!({ "available": true, "fetching": false });
    assert_eq!(prefetch("/prefetch/a?wait=30").await, (200, cached.clone()));
    // A cached object needs no request to origin.
    assert_eq!(prefetch("/prefetch/a?wait=30").await, (200, cached));
    assert_eq!(faults.calls(Operation::Open), 1);
    let (status, document) = prefetch("/prefetch/none?wait=30").await;
    assert_eq!((status, &document["reason"]), (200, &json!("origin has no such object")));
    let (status, document) = prefetch("/prefetch/large?wait=30").await;
    assert_eq!((status, &document["available"]), (200, &json!(false)));
    assert!(document["reason"].is_string(), "{document}");
    for wrong in ["0", "61", "soon", ""] {
        assert_eq!(prefetch(&format!("/prefetch/a?wait={wrong}")).await.0, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_uploads_at_origin_is_neither_served_nor_listed() {
    let origin = Memory::storage();
    for key in ["a", ".uploads/0/state.json", "videos/.uploads/0/rest-0"] {
        origin.save(key, "x").await.unwrap();
    }
    let mirror = Mirror::of(origin, json!({}));
    assert_eq!(mirror.fetch("/a").await.0.as_u16(), 200);
    for path in ["/.uploads/0/state.json", "/videos/%2Euploads/0/rest-0"] {
        assert_eq!(mirror.fetch(path).await.0.as_u16(), 404, "{path}");
    }
    let url = format!("{}/prefetch?prefix=", mirror.url);
    let listed = mirror.client.get(url).bearer_auth(TOKEN).send().await.unwrap();
    let listed: Value = serde_json::from_str(&listed.text().await.unwrap()).unwrap();
    assert_eq!(listed["keys"], json!(["a"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_origin_are_listed_in_pages() {
    let origin = Memory::storage();
    for n in 0..1001 {
        origin.save(format!("d/{n:04}"), "").await.unwrap();
    }
    origin.save("e", "").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    let keys = async |query: &str| {
        let url = format!("{}/prefetch?{query}", mirror.url);
        let request = mirror.client.get(url).bearer_auth(TOKEN);
        serde_json::from_str::<Value>(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    };
    let page = keys("prefix=d/").await;
    assert_eq!((page["keys"].as_array().unwrap().len(), &page["next"]), (1000, &json!("d/0999")));
    let page = keys("prefix=d/&after=d/0999").await;
    assert_eq!(page, json!({ "keys": ["d/1000"], "next": null, "skipped": 0 }));
    let response = mirror.client.get(format!("{}/prefetch?prefix=d/", mirror.url)).send().await;
    assert_eq!(response.unwrap().status().as_u16(), 401);
}

/// Sends a request on a connection and returns whether there was a response. The server closes a
/// refused connection.
async fn is_served(stream: &mut TcpStream) -> bool {
    if stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.is_err() {
        return false;
    }
    let mut response = Vec::new();
    while !response.ends_with(b"ok\n") {
        match stream.read_u8().await {
            Ok(byte) => response.push(byte),
            Err(_) => return false,
        }
    }
    true
}

async fn connected(mirror: &Mirror) -> TcpStream {
    TcpStream::connect(mirror.url.trim_start_matches("http://")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_a_client_are_limited() {
    let mirror = Mirror::of(Memory::storage(), json!({ "max_connections_per_client": 2 }));
    let (mut first, mut second) = (connected(&mirror).await, connected(&mirror).await);
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(!is_served(&mut connected(&mirror).await).await);
    assert!(is_served(&mut first).await, "open connections stay usable");
    drop(second);
    // The server notices the closed connection with a delay.
    let served_again = async {
        let mut third = connected(&mirror).await;
        while !is_served(&mut third).await {
            third = connected(&mirror).await;
        }
    };
    tokio::time::timeout(PATIENCE, served_again)
        .await
        .expect("a closed connection frees its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_a_trusted_proxy_are_not_limited() {
    let options = json!({ "max_connections_per_client": 2, "trusted_proxies": ["127.0.0.1"] });
    let mirror = Mirror::of(Memory::storage(), options);
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut stream = connected(&mirror).await;
        assert!(is_served(&mut stream).await);
        held.push(stream);
    }
    assert_eq!(mirror.figure("refused_connections_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_too_many_headers_are_refused() {
    let mirror = Mirror::of(Memory::storage(), json!({}));
    let response = mirror.client.put(format!("{}/a", mirror.url)).body("x").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    let many =
        (0..200).fold(String::from("GET /a HTTP/1.1"), |head, n| format!("{head}\r\nX-{n}: 1"));
    assert!(raw(&mirror, &many).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_ranges_work_while_an_object_arrives_and_once_it_is_stored() {
    let origin = Memory::storage();
    let etag = origin.save("a", "0123456789").await.unwrap().etag.unwrap().to_string();
    let mirror = Mirror::of(origin, json!({}));
    for round in ["arriving", "kept"] {
        let ask = |name: &'static str, value: String| mirror.get("/a").header(name, value).send();
        assert_eq!(
            ask("if-none-match", etag.clone()).await.unwrap().status().as_u16(),
            304,
            "{round}"
        );
        assert_eq!(
            ask("if-match", "\"other\"".to_owned()).await.unwrap().status().as_u16(),
            412,
            "{round}"
        );
        assert_eq!(
            ask("range", "bytes=2-3".to_owned()).await.unwrap().text().await.unwrap(),
            "23",
            "{round}"
        );
        let beyond = ask("range", "bytes=20-".to_owned()).await.unwrap();
        assert_eq!(
            (beyond.status().as_u16(), &beyond.headers()["content-range"]),
            (416, &"bytes */10".parse().unwrap())
        );
        let other = mirror.get("/a").header("range", "bytes=2-3").header("if-range", "\"other\"");
        assert_eq!(other.send().await.unwrap().text().await.unwrap(), "0123456789", "{round}");
        mirror.until("in_flight", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_with_the_token_receive_the_metadata_as_it_is_stored() {
    let origin = Memory::storage();
    let page =
        origin.save("a.html", "hello").content_type("text/html").user_metadata("author", "ada");
    page.cache_control("max-age=100").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    let response = mirror.get("/a.html").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(response.headers()["x-storage-meta-author"], "ada");
    assert!(!response.headers().contains_key("content-disposition"));
    // A cache in front must not serve this response to browsers.
    assert_eq!(response.headers()["vary"], "authorization");
    let browser = |request: reqwest::RequestBuilder| async {
        request.send().await.unwrap().headers().clone()
    };
    let url = format!("{}/a.html", mirror.url);
    for request in [
        mirror.client.get(&url),
        mirror.client.get(&url).basic_auth("a", Some(TOKEN)),
        mirror.client.get(&url).bearer_auth("wrong"),
    ] {
        let headers = browser(request).await;
        assert_eq!(headers["content-disposition"], "attachment");
        assert!(!headers.contains_key("x-storage-meta-author"));
    }
}

#[tokio::test]
async fn a_request_with_an_invalid_host_or_an_ambiguous_length_closes_the_connection() {
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, serde_json::json!({}));
    for head in [
        "GET /a HTTP/1.1\r\n",
        "GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n",
        "GET /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "POST /purge/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let mut stream =
            TcpStream::connect(mirror.url.trim_start_matches("http://")).await.unwrap();
        // A server that sees no body in the first request would parse the rest as a second one.
        let sent = format!("{head}\r\n0\r\n\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).await.unwrap();
        assert!(received.starts_with("HTTP/1.1 400 "), "{head:?}: {received}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{head:?}: {received}");
    }
}
