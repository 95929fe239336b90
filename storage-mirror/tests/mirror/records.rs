//! The records of requests: analytics, access log, status.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use storage_core::{Memory, Operation, Storage};
use storage_mirror::{ExportFormat, export};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Mirror, PATIENCE, TOKEN, config, faulty, pattern};

/// Reads a value until a condition holds.
async fn until<T>(
    what: &str,
    mut read: impl AsyncFnMut() -> T,
    mut is_so: impl FnMut(&T) -> bool,
) -> T {
    let reached = async {
        loop {
            let now = read().await;
            if is_so(&now) {
                break now;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn exported(mirror: &Mirror, query: &str) -> String {
    let response =
        mirror.get(&format!("/analytics?{query}")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    response.text().await.unwrap()
}

/// Returns the rows of an export as JSON lines, by key.
fn rows(lines: &str) -> BTreeMap<String, Value> {
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (row["key"].as_str().unwrap().to_owned(), row)).collect()
}

/// Waits until so many requests are recorded and returns the rows. A request is recorded when the
/// server drops its body, which may be shortly after the client has received all of it.
async fn counted(mirror: &Mirror, requests: u64) -> BTreeMap<String, Value> {
    let read = async || rows(&exported(mirror, "format=jsonl").await);
    let all = |rows: &BTreeMap<String, Value>| {
        rows.values().map(|row| row["requests"].as_u64().unwrap()).sum::<u64>()
    };
    until("the requests are counted", read, |rows| all(rows) == requests).await
}

async fn kept(origin: &Storage, mirror: &Mirror, key: &str, bytes: Vec<u8>) {
    origin.save(key, bytes).await.unwrap();
    let objects = mirror.figure("objects").await;
    assert_eq!(
        mirror.post(&format!("/prefetch/{key}")).send().await.unwrap().status().as_u16(),
        202
    );
    mirror.until("objects", objects + 1).await;
    mirror.until("in_flight", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ranges_of_one_client_are_one_download() {
    let origin = Memory::storage();
    let mirror = Mirror::of(origin.clone(), json!({}));
    kept(&origin, &mirror, "a.mp3", pattern(10_000)).await;
    for part in 0..10 {
        let range = format!("bytes={}-{}", part * 1000, part * 1000 + 999);
        let response = mirror
            .get("/a.mp3")
            .header("range", range)
            .header("user-agent", "one")
            .send()
            .await
            .unwrap();
        assert_eq!(response.bytes().await.unwrap().len(), 1000);
    }
    mirror
        .get("/download/a.mp3")
        .header("user-agent", "another")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    // A short range, a HEAD request and a missing object are no downloads.
    mirror
        .get("/a.mp3")
        .header("range", "bytes=0-1")
        .header("user-agent", "third")
        .send()
        .await
        .unwrap();
    mirror.client.head(format!("{}/a.mp3", mirror.url)).send().await.unwrap();
    assert_eq!(mirror.fetch("/nope.mp3").await.0.as_u16(), 404);
    let rows = counted(&mirror, 12).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows["a.mp3"];
    assert_eq!((&row["downloads"], &row["downloads_by_request"]), (&json!(2), &json!(0)));
    assert_eq!(
        (&row["hit_requests"], &row["bytes_hit"], &row["bytes_miss"]),
        (&json!(12), &json!(20_002), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_and_misses_are_counted_separately() {
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    mirror.fetch("/a").await;
    let rows = counted(&mirror, 2).await;
    let row = &rows["a"];
    assert_eq!((&row["downloads"], &row["hit_requests"]), (&json!(1), &json!(1)));
    assert_eq!((&row["bytes_hit"], &row["bytes_miss"]), (&json!(5), &json!(5)));
    let metrics =
        mirror.get("/metrics").bearer_auth(TOKEN).send().await.unwrap().text().await.unwrap();
    for line in [
        "anystorage_mirror_responses_total{cache_status=\"hit\"} 1",
        "anystorage_mirror_sent_bytes_total{cache_status=\"miss\"} 5",
        "anystorage_mirror_access_log_lost_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_download_counts_the_bytes_that_were_sent() {
    const SIZE: usize = 64_000_000;
    let origin = Memory::storage();
    let mirror = Mirror::of(origin.clone(), json!({}));
    kept(&origin, &mirror, "a", pattern(SIZE)).await;
    let mut response = mirror.get("/a").send().await.unwrap();
    let mut received = 0;
    while received < 1_000_000 {
        received += response.chunk().await.unwrap().unwrap().len() as u64;
    }
    drop(response);
    let rows = counted(&mirror, 1).await;
    let sent = rows["a"]["bytes_hit"].as_u64().unwrap();
    // The buffers of the sockets and of the client hold sent bytes that the test has not read.
    assert!(received <= sent && sent < SIZE as u64, "{received} were received, {sent} were sent");
    assert_eq!(rows["a"]["downloads"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_survive_a_restart() {
    let cache = TempDir::new().unwrap();
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::at(cache.path(), origin.clone(), json!({}));
    mirror.fetch("/a").await;
    // An object that is not stored yet would be fetched again after the restart.
    mirror.until("in_flight", 0).await;
    // Stopping the mirror writes the counts.
    drop(mirror);
    let mut file = Vec::new();
    export(cache.path(), None, None, ExportFormat::Jsonl, &mut file).unwrap();
    assert_eq!(rows(std::str::from_utf8(&file).unwrap())["a"]["requests"], json!(1));
    let mirror = Mirror::at(cache.path(), origin, json!({}));
    assert_eq!(counted(&mirror, 1).await["a"]["downloads"], json!(1));
    mirror.fetch("/a").await;
    let rows = counted(&mirror, 2).await;
    assert_eq!(rows["a"]["downloads"], json!(2), "the disk does not identify counted clients");
    assert_eq!(mirror.figure("objects").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_analytics_files_do_not_identify_clients() {
    let cache = TempDir::new().unwrap();
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::at(cache.path(), origin, json!({}));
    mirror.get("/a").header("user-agent", "a-player").send().await.unwrap().bytes().await.unwrap();
    drop(mirror);
    let mut files = 0;
    for file in fs::read_dir(cache.path().join("analytics")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(
            text.contains("\"key\":\"a\"")
                && !text.contains("127.0.0.1")
                && !text.contains("player"),
            "{text}"
        );
        files += 1;
    }
    // The counts of the keys, and the summary.
    assert_eq!(files, 2);
}

/// Parses CSV (RFC 4180) into the fields of each line.
fn table(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut fields, mut field, mut quoted) =
        (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted => assert_eq!(chars.peek(), Some(&'\n')),
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut field));
                lines.push(std::mem::take(&mut fields));
            }
            c => field.push(c),
        }
    }
    assert!(field.is_empty() && fields.is_empty() && !quoted, "the last line has no end");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_keys_with_special_characters_reads_back() {
    let keys = [
        "=cmd|' /C calc'!A0",
        "a \"b\", c.mp3",
        "@x",
        "'y",
        "café ✓\u{2028}.mp3",
        "{\"key\":1}",
        "-1+1",
        "+x",
        "<b>",
    ];
    let origin = Memory::storage();
    let mirror = Mirror::of(origin.clone(), json!({}));
    for key in keys {
        origin.save(key, "hello").await.unwrap();
        let mut url: reqwest::Url = mirror.url.parse().unwrap();
        url.path_segments_mut().unwrap().push(key);
        assert_eq!(
            mirror.client.get(url).send().await.unwrap().text().await.unwrap(),
            "hello",
            "{key}"
        );
    }
    let rows = counted(&mirror, keys.len() as u64).await;
    assert!(keys.iter().all(|key| rows.contains_key(*key)), "{rows:?}");
    let text = exported(&mirror, "format=csv").await;
    let lines = table(&text);
    assert_eq!(lines.len(), keys.len() + 1);
    assert!(lines.iter().all(|line| line.len() == 8), "{text}");
    assert_eq!(lines[0].join(","), text.lines().next().unwrap());
    for key in keys {
        let line = lines.iter().find(|line| line[1].strip_prefix('\'').unwrap_or(&line[1]) == key);
        let line = line.unwrap_or_else(|| panic!("{key} is not in\n{text}"));
        assert!(!line[1].starts_with(['=', '+', '-', '@']), "{key} is a formula");
        assert_eq!(line[2..5], ["1", "0", "1"], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_contains_the_requested_days() {
    let cache = TempDir::new().unwrap();
    let days = cache.path().join("analytics");
    fs::create_dir(&days).unwrap();
    for day in ["2024-12-31", "2025-01-01", "2025-01-02"] {
        let counts = "\"downloads\":1,\"downloads_by_request\":0,\"requests\":1,\"hit_requests\":0,\"bytes_hit\":0";
        let line = format!("{{\"day\":\"{day}\",\"key\":\"{day}\",{counts},\"bytes_miss\":5}}\n");
        fs::write(days.join(format!("{day}.jsonl")), line).unwrap();
    }
    let mirror = Mirror::at(cache.path(), Memory::storage(), json!({}));
    for (query, wanted) in [
        ("format=jsonl", &["2024-12-31", "2025-01-01", "2025-01-02"][..]),
        ("format=jsonl&from=2025-01-01", &["2025-01-01", "2025-01-02"]),
        ("format=jsonl&from=2025-01-01&to=2025-01-01", &["2025-01-01"]),
        ("format=jsonl&to=2024-12-30", &[]),
    ] {
        assert!(rows(&exported(&mirror, query).await).keys().eq(wanted), "{query}");
    }
    for query in ["format=xls", "from=yesterday", "from=2025-1-1", "form=csv"] {
        let response =
            mirror.get(&format!("/analytics?{query}")).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 400, "{query}");
    }
    assert_eq!(mirror.get("/analytics").send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_zero_analytics_days_nothing_is_counted() {
    let cache = TempDir::new().unwrap();
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::at(cache.path(), origin, json!({ "analytics_days": 0 }));
    assert_eq!(mirror.fetch("/a").await.2, "hello");
    let response = mirror.get("/analytics").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 404);
    drop(mirror);
    assert!(!cache.path().join("analytics").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_are_counted_separately() {
    for (trusted, downloads) in [(json!(["127.0.0.1"]), 2), (json!([]), 1)] {
        let origin = Memory::storage();
        origin.save("a", "hello").await.unwrap();
        let mirror = Mirror::of(origin, json!({ "trusted_proxies": trusted }));
        for client in ["192.0.2.1", "192.0.2.2", "192.0.2.1"] {
            let request =
                mirror.get("/a").header("x-forwarded-for", format!("203.0.113.9, {client}"));
            request.send().await.unwrap().bytes().await.unwrap();
        }
        assert_eq!(counted(&mirror, 3).await["a"]["downloads"], json!(downloads));
    }
}

/// Sends bytes unchanged and returns what is received until the connection ends.
async fn raw(mirror: &Mirror, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(mirror.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    response
}

/// Waits until a log has at least `count` lines and returns them.
async fn lines(log: &Path, count: usize) -> Vec<String> {
    let read = async || fs::read_to_string(log).unwrap_or_default();
    let text = until("the log has its lines", read, |text| text.lines().count() >= count).await;
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_can_forge_a_line_of_the_access_log() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("access.log");
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "access_log": log }));
    let mut request =
        b"GET /a?X-Storage-Signature=secret HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_vec();
    request.extend(b"User-Agent: x\" hit 1\t\\\xff\xc2\x85 127.0.0.1 - - \"GET /forged\r\n");
    request.extend(b"Referer: https://a.example/\"y?X-Storage-Signature=secret\r\n\r\n");
    assert!(raw(&mirror, &request).await.starts_with(b"HTTP/1.1 200"));
    raw(&mirror, b"GET /b%0a%22\"\xe2\x80\xa8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let lines = lines(&log, 1).await;
    let fields: Vec<_> = lines[0].split('"').collect();
    assert_eq!((fields[1], fields[2]), ("GET /a HTTP/1.1", " 200 5 "), "{lines:?}");
    assert_eq!(fields[3], r"https://a.example/\x22y");
    assert_eq!(fields[5], r"x\x22 hit 1\x09\x5C\xFF\xC2\x85 127.0.0.1 - - \x22GET /forged");
    assert!(fields[6].starts_with(" miss "), "{lines:?}");
    // The log is complete when the mirror has stopped.
    drop(mirror);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.is_ascii() && !text.contains("secret"), "{text}");
    for line in text.lines() {
        assert!(line.starts_with("127.0.0.1 - - [") && line.matches('"').count() == 6, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_before_the_response_is_logged() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("access.log");
    let (origin, faults) = faulty();
    origin.save("a", "hello").await.unwrap();
    let held = faults.on(Operation::Open).call(1).hold();
    let mirror = Mirror::of(origin, json!({ "access_log": log }));
    let mut stream = TcpStream::connect(mirror.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    held.reached().await;
    drop(stream);
    let lines = lines(&log, 1).await;
    assert!(lines[0].contains("\"GET /a HTTP/1.1\" 499 0 "), "{lines:?}");
    held.release();
    // A request without a response is not counted.
    mirror.until("objects", 1).await;
    assert!(counted(&mirror, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_reopens_the_access_log() {
    let (dir, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (log, old) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let options = json!({ "access_log": log });
    let mirror = Mirror::at(cache.path(), origin, options.clone());
    mirror.fetch("/a").await;
    lines(&log, 1).await;
    fs::rename(&log, &old).unwrap();
    mirror.handle.reload(config(cache.path(), options)).unwrap();
    mirror.fetch("/download/a").await;
    let (new, old) = (lines(&log, 1).await, lines(&old, 1).await);
    assert!(new.len() == 1 && new[0].contains("/download/a"), "{new:?}");
    assert!(old.len() == 1 && !old[0].contains("/download/a"), "{old:?}");
    let nowhere = json!({ "access_log": dir.path().join("no/such/directory") });
    let error = mirror.handle.reload(config(cache.path(), nowhere)).unwrap_err();
    assert!(error.message().contains("access_log"), "{error}");
    mirror.fetch("/download/a").await;
    assert_eq!(lines(&log, 2).await.len(), 2, "the old log stays open");
    mirror.handle.reload(config(cache.path(), json!({}))).unwrap();
    mirror.fetch("/download/a").await;
    drop(mirror);
    assert_eq!(lines(&log, 2).await.len(), 2, "nothing is logged any more");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_that_blocks_delays_no_request() {
    // More lines than the queue of the log and a pipe hold.
    const REQUESTS: usize = 10_000;
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mirror = Mirror::of(Memory::storage(), json!({ "access_log": pipe }));
    let address = mirror.url.trim_start_matches("http://").to_owned();
    let (mut responses, mut requests) = TcpStream::connect(address).await.unwrap().into_split();
    let asking = tokio::spawn(async move {
        let one = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        requests.write_all(one.repeat(REQUESTS - 1).as_bytes()).await.unwrap();
        requests
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        requests
    });
    let mut text = String::new();
    let received = responses.read_to_string(&mut text);
    tokio::time::timeout(PATIENCE, received).await.expect("each request has a response").unwrap();
    asking.await.unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), REQUESTS);
    let lost = mirror.figure("access_log_lost_total").await;
    assert!(lost > 0 && lost < REQUESTS as u64, "{lost} lines are lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_escapes_keys() {
    let key = "<script>alert('1')</script>&.mp3";
    let origin = Memory::storage();
    origin.save(key, "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    let mut url: reqwest::Url = mirror.url.parse().unwrap();
    url.path_segments_mut().unwrap().extend(["download"]).extend(key.split('/'));
    assert_eq!(mirror.client.get(url).send().await.unwrap().text().await.unwrap(), "hello");
    counted(&mirror, 1).await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let request = mirror.get("/status").header("accept", browser);
    let response = request.basic_auth("user", Some(TOKEN)).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script"), "{policy}");
    let page = response.text().await.unwrap();
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;.mp3"), "{page}");
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("https://"),
        "{page}"
    );
}

/// Returns the status page, as a browser requests it.
async fn status_page(mirror: &Mirror, query: &str) -> String {
    let request = mirror.get(&format!("/status{query}")).header("accept", "text/html");
    let response = request.basic_auth("user", Some(TOKEN)).send().await.unwrap();
    assert_eq!(response.headers().get_all("content-type").iter().count(), 1);
    response.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_keys_of_any_length_and_direction_as_text() {
    let origin = Memory::storage();
    let mirror = Mirror::of(origin.clone(), json!({}));
    let long = "<".repeat(1024);
    for key in [&long, "\u{202e}gpj.exe", "ملف"] {
        origin.save(key, "hello").await.unwrap();
        let mut url: reqwest::Url = mirror.url.parse().unwrap();
        url.path_segments_mut().unwrap().push(key);
        assert_eq!(mirror.client.get(url).send().await.unwrap().text().await.unwrap(), "hello");
    }
    counted(&mirror, 3).await;
    let page = status_page(&mirror, "").await;
    assert!(page.contains(&format!("<bdi>{}</bdi>", "&lt;".repeat(1024))), "{page}");
    assert!(page.contains("<bdi>\\u{202e}gpj.exe</bdi>") && !page.contains('\u{202e}'), "{page}");
    assert!(page.contains("<bdi>ملف</bdi>"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_on_the_status_page_lists_the_keys_that_contain_the_text() {
    let origin = Memory::storage();
    let mirror = Mirror::of(origin.clone(), json!({}));
    for key in ["a/One.mp3", "a/two.mp3"] {
        origin.save(key, "hello").await.unwrap();
        mirror.fetch(&format!("/{key}")).await;
    }
    counted(&mirror, 2).await;
    let page = status_page(&mirror, "?q=one&refresh=60").await;
    assert!(page.contains("<bdi>a/One.mp3</bdi>") && !page.contains("two.mp3"), "{page}");
    assert!(page.contains("<meta http-equiv=refresh content=60>"), "{page}");
    let hostile = "?q=%22%3E%3Cscript%3E&day=2025-01-01&days=%3Cb%3E";
    let page = status_page(&mirror, hostile).await;
    assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;\"") && !page.contains("<script"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_saved_traffic_and_a_reload_changes_the_price() {
    let cache = TempDir::new().unwrap();
    let origin = Memory::storage();
    origin.save("a", vec![0; 1_000_000]).await.unwrap();
    let priced = |price: f64| json!({ "price_per_gb": price, "currency": "EUR" });
    let mirror = Mirror::at(cache.path(), origin, priced(1000.0));
    mirror.fetch("/a").await;
    mirror.until("objects", 1).await;
    mirror.fetch("/a").await;
    counted(&mirror, 2).await;
    let page = status_page(&mirror, "").await;
    for figure in [">50.0 %<", ">1.00 MB<", ">1.00 EUR<", ">2.00 MB<", "memory:"] {
        assert!(page.contains(figure), "{figure} is not in\n{page}");
    }
    mirror.handle.reload(config(cache.path(), priced(2500.0))).unwrap();
    assert!(status_page(&mirror, "").await.contains(">2.50 EUR<"));
    let error = mirror.handle.reload(config(cache.path(), priced(-1.0))).unwrap_err();
    assert!(error.message().contains("price_per_gb"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_analytics_the_status_page_counts_from_the_start() {
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "analytics_days": 0 }));
    mirror.fetch("/a").await;
    mirror.until("objects", 1).await;
    mirror.fetch("/a").await;
    let read = async || status_page(&mirror, "").await;
    let page = until("both are counted", read, |page| page.contains(">50.0 %<")).await;
    assert!(page.contains("analytics_days = 0"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_as_json_contains_the_figures_of_the_page() {
    let origin = Memory::storage();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    counted(&mirror, 1).await;
    let request = mirror.get("/status?format=json").header("accept", "text/html");
    let response = request.bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let status: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(status["responses"]["miss"], json!({ "requests": 1, "sent_bytes": 5 }));
    assert_eq!(status["today"]["top"][0]["key"], json!("a"));
    assert_eq!(
        (&status["today"]["all"]["downloads"], &status["max_size"]),
        (&json!(1), &json!(1 << 30))
    );
    assert_eq!(status["origin"], json!({ "driver": "memory", "location": "memory:" }));
    assert_eq!((&status["byte_hit_rate"], &status["saved_bytes"]), (&json!(0.0), &json!(0)));
    assert!(
        status["version"].is_string()
            && status["uptime_seconds"].is_u64()
            && status["hit_rate"].is_number()
    );
}
