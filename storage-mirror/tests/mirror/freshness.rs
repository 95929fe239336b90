//! Freshness: how long a stored object is served, and how it is revalidated.

use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use storage_core::{ErrorKind, Memory, Operation};
use storage_testkit::http::{Gate, Peer};
use storage_testkit::wait;

use crate::common::{Mirror, cache_status, faulty};
use crate::origin::{self, chunked, object, storage};

/// Returns the options of a mirror that waits for a revalidation as long as it takes, because it
/// may serve no stale object instead.
fn only_fresh() -> Value {
    json!({ "stale_if_error": "0s" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_object_is_revalidated_by_one_conditional_request() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0").await.unwrap();
    let mirror = Mirror::of(origin.clone(), only_fresh());
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let (_, cache, body) = mirror.fetch("/a").await;
    assert_eq!((&*cache, &*body), ("anystorage; hit; fwd=stale; fwd-status=304", "hello"));
    assert_eq!(faults.calls(Operation::Open), 2);
    origin.save("a", "new").cache_control("max-age=0").await.unwrap();
    let (_, cache, body) = mirror.fetch("/a").await;
    assert!(cache.contains("fwd=stale; fwd-status=200; stored"), "{cache}");
    assert_eq!(body, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_object_is_served_with_its_age_when_origin_fails() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, stale-if-error=100").await.unwrap();
    let mirror = Mirror::of(origin, only_fresh());
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let down = faults.on(Operation::Open).fail(ErrorKind::RateLimited);
    let response = mirror.get("/a").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.headers().contains_key("age"));
    assert_eq!(response.text().await.unwrap(), "hello");
    // The mirror does not wait long for origin.
    mirror.until("in_flight", 0).await;
    assert_eq!(down.fired(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_must_be_revalidated_is_504_when_origin_fails() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, must-revalidate").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let down = faults.on(Operation::Open).fail(ErrorKind::RateLimited);
    assert_eq!(mirror.fetch("/a").await.0.as_u16(), 504);
    assert_eq!(down.fired(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_object_is_served_at_once_with_stale_while_revalidate() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, stale-while-revalidate=100").await.unwrap();
    let mirror = Mirror::of(origin.clone(), json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    origin.save("a", "new").cache_control("max-age=100").await.unwrap();
    let held = faults.on(Operation::Open).call(1).hold();
    let (_, cache, body) = mirror.fetch("/a").await;
    assert!(cache.contains("revalidating"), "{cache}");
    assert_eq!(body, "hello");
    held.reached().await;
    held.release();
    mirror.until("in_flight", 0).await;
    let (_, cache, body) = mirror.fetch("/a").await;
    assert!(cache.contains("hit; ttl="), "{cache}");
    assert_eq!(body, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_origin_forbids_to_store_is_not_stored() {
    let (origin, faults) = faulty();
    for (key, directives) in [("a", "no-store"), ("b", "private, max-age=100")] {
        origin.save(key, "hello").cache_control(directives).await.unwrap();
    }
    let mirror = Mirror::of(origin, json!({}));
    for path in ["/a", "/b"] {
        for _ in 0..2 {
            let (_, cache, body) = mirror.fetch(path).await;
            assert!(cache.contains("origin forbids it"), "{cache}");
            assert_eq!(body, "hello");
        }
    }
    assert_eq!(mirror.figure("objects").await, 0);
    assert!(faults.calls(Operation::Open) >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_requested_once_within_negative_ttl() {
    let (origin, faults) = faulty();
    let mirror = Mirror::of(origin.clone(), json!({ "negative_ttl": "1h" }));
    for _ in 0..3 {
        assert_eq!(mirror.fetch("/a").await.0.as_u16(), 404);
    }
    assert_eq!(faults.calls(Operation::Open), 1);
    // A purge makes a new object visible.
    origin.save("a", "hello").await.unwrap();
    mirror.post("/purge/a").send().await.unwrap();
    assert_eq!(mirror.fetch("/a").await.2, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_origin_deleted_is_removed_at_revalidation() {
    let origin = Memory::storage();
    origin.save("a", "hello").cache_control("max-age=0").await.unwrap();
    let mirror = Mirror::of(origin.clone(), only_fresh());
    mirror.fetch("/a").await;
    mirror.until("objects", 1).await;
    mirror.until("in_flight", 0).await;
    origin.delete("a").await.unwrap();
    assert_eq!(mirror.fetch("/a").await.0.as_u16(), 404);
    assert_eq!(mirror.figure("objects").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_is_not_a_missing_object() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    for (kind, status) in [
        (ErrorKind::Unexpected, 502),
        (ErrorKind::PermissionDenied, 502),
        (ErrorKind::Timeout, 504),
        (ErrorKind::RateLimited, 503),
    ] {
        faults.clear();
        let down = faults.on(Operation::Open).call(1).fail(kind);
        let (found, _, body) = mirror.fetch("/a").await;
        assert_eq!((found.as_u16(), down.fired()), (status, 1), "{kind:?}");
        assert!(!body.contains("planned"), "{body}");
        mirror.until("in_flight", 0).await;
    }
    assert_eq!(mirror.fetch("/a").await.2, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_object_that_origin_refuses_is_not_served() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, stale-if-error=100").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let withdrawn = faults.on(Operation::Open).fail(ErrorKind::PermissionDenied);
    // The mirror does not wait long for origin, and serves the object until it is refused.
    let is_refused = async || {
        let (status, _, body) = mirror.fetch("/a").await;
        assert!(!status.is_server_error() || !body.contains("hello"), "{status}: {body}");
        status.is_server_error()
    };
    assert!(wait::until(is_refused).await, "origin refused it {} times", withdrawn.fired());
    assert!(withdrawn.fired() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_hangs_does_not_delay_an_object_that_may_be_served_stale() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, stale-if-error=100").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let hangs = faults.on(Operation::Open).call(1).hold();
    let (_, cache, body) = mirror.fetch("/a").await;
    assert!(cache.contains("origin failed"), "{cache}");
    assert_eq!(body, "hello");
    hangs.reached().await;
    hangs.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revalidation_applies_the_current_metadata() {
    let origin = Memory::storage();
    origin.save("a", "hello").cache_control("max-age=0").await.unwrap();
    let mirror = Mirror::of(origin.clone(), only_fresh());
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    // The bytes stay the same; the driver decides whether the ETag changes.
    let private = storage_core::Metadata::new().cache_control("private, max-age=100");
    origin.copy("a", "a").metadata(private).await.unwrap();
    let (_, cache, _) = mirror.fetch("/a").await;
    assert!(cache.contains("origin forbids it"), "{cache}");
    assert_eq!(mirror.figure("objects").await, 0);
}

/// Returns an origin that sends these headers in every response.
fn sending(headers: &'static str) -> Peer {
    Peer::start(move |_| object().headers(headers).body("hello"))
}

fn age(response: &reqwest::Response) -> u64 {
    response.headers()["age"].to_str().unwrap().parse().unwrap()
}

/// Returns the seconds for which a hit stays fresh.
fn ttl(response: &reqwest::Response) -> u64 {
    let status = cache_status(response);
    let ttl =
        status.strip_prefix("anystorage; hit; ttl=").unwrap_or_else(|| panic!("no hit: {status}"));
    ttl.parse().unwrap()
}

/// Asserts the age of a hit, and for how long it stays fresh, in seconds.
#[track_caller]
fn assert_fresh(hit: &reqwest::Response, ages: Range<u64>, ttls: RangeInclusive<u64>) {
    let is_fresh = ages.contains(&age(hit)) && ttls.contains(&ttl(hit));
    assert!(is_fresh, "{:?}", hit.headers());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_origins_response_counts_after_a_restart_too() {
    let cache = tempfile::TempDir::new().unwrap();
    let origin = sending("Cache-Control: max-age=1000\r\nAge: 600\r\n");
    let mirror = Mirror::at(cache.path(), storage(&origin), json!({}));
    let arriving = mirror.get("/a").send().await.unwrap();
    assert!((600..700).contains(&age(&arriving)), "{}", age(&arriving));
    arriving.text().await.unwrap();
    mirror.until("in_flight", 0).await;
    let hit = mirror.get("/a").send().await.unwrap();
    assert_fresh(&hit, 600..700, 300..=400);
    drop(mirror);
    let mirror = Mirror::at(cache.path(), storage(&origin), json!({}));
    let hit = mirror.get("/a").send().await.unwrap();
    assert_fresh(&hit, 600..700, 300..=400);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_stale_on_arrival_is_not_fresh() {
    let origin = sending("Cache-Control: max-age=60\r\nAge: 60\r\n");
    let mirror = Mirror::of(storage(&origin), json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let (_, cache, _) = mirror.fetch("/a").await;
    assert!(cache.contains("fwd=stale"), "{cache}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chained_mirrors_serve_an_object_for_one_freshness_lifetime() {
    let origin = sending("Cache-Control: max-age=1000\r\nAge: 600\r\n");
    let inner = Mirror::of(storage(&origin), json!({}));
    inner.fetch("/a").await;
    inner.until("in_flight", 0).await;
    let base = format!("{}/", inner.url).parse().unwrap();
    let outer = Mirror::of(origin::at(base), json!({}));
    // The age counts for HEAD, for an arriving body and for a hit.
    let passed = outer.client.head(format!("{}/a", outer.url)).send().await.unwrap();
    assert!((600..700).contains(&age(&passed)), "{:?}", passed.headers());
    let arriving = outer.get("/a").send().await.unwrap();
    assert!((600..700).contains(&age(&arriving)), "{:?}", arriving.headers());
    arriving.text().await.unwrap();
    outer.until("in_flight", 0).await;
    let hit = outer.get("/a").send().await.unwrap();
    assert_fresh(&hit, 600..700, 300..=400);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn expires_counts_from_the_date_of_origin() {
    let dates = "Date: Wed, 01 Jan 2098 00:00:00 GMT\r\nExpires: Wed, 01 Jan 2098 00:10:00 GMT\r\n";
    let origin = sending(dates);
    let mirror = Mirror::of(storage(&origin), json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let hit = mirror.get("/a").send().await.unwrap();
    assert_fresh(&hit, 0..100, 500..=600);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chained_mirrors_count_expires_from_the_date_of_origin() {
    let dates = "Date: Wed, 01 Jan 2098 00:00:00 GMT\r\nExpires: Wed, 01 Jan 2098 00:10:00 GMT\r\nAge: 300\r\n";
    let origin = sending(dates);
    let inner = Mirror::of(storage(&origin), json!({}));
    let base = format!("{}/", inner.url).parse().unwrap();
    let outer = Mirror::of(origin::at(base), json!({}));
    let sent = outer.client.head(format!("{}/a", outer.url)).send().await.unwrap();
    assert_eq!(sent.headers()["date"], "Wed, 01 Jan 2098 00:00:00 GMT", "passed on twice");
    let arriving = outer.get("/a").send().await.unwrap();
    assert_eq!(arriving.headers()["date"], "Wed, 01 Jan 2098 00:00:00 GMT");
    arriving.text().await.unwrap();
    outer.until("in_flight", 0).await;
    let hit = outer.get("/a").send().await.unwrap();
    assert_eq!(hit.headers()["date"], "Wed, 01 Jan 2098 00:00:00 GMT");
    assert_fresh(&hit, 300..400, 200..=300);
}

/// Requests an object for which origin waits at a gate. Opens it after more than a second, because
/// ages are in whole seconds of the real clock.
async fn get_from_slow_origin(mirror: &Mirror, origin: &Peer, gate: &Gate) -> reqwest::Response {
    let opened = async {
        while origin.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        gate.open();
    };
    tokio::join!(mirror.get("/a").send(), opened).0.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_includes_the_time_to_receive_an_object_without_a_length() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin =
        Peer::start(move |_| chunked().body("5\r\nhello\r\n").wait(&held).body("0\r\n\r\n"));
    let mirror = Mirror::of(storage(&origin), json!({}));
    let arriving = get_from_slow_origin(&mirror, &origin, &gate).await;
    assert!(age(&arriving) >= 1, "{:?}", arriving.headers());
    assert_eq!(arriving.text().await.unwrap(), "hello");
    mirror.until("in_flight", 0).await;
    let hit = mirror.get("/a").send().await.unwrap();
    assert!(age(&hit) >= 1 && cache_status(&hit).contains("hit"), "{:?}", hit.headers());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_origin_takes_to_respond_counts_once() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Peer::start(move |_| chunked().wait(&held).body("5\r\nhello\r\n0\r\n\r\n"));
    let mirror = Mirror::of(storage(&origin), json!({}));
    let begun = Instant::now();
    let arriving = get_from_slow_origin(&mirror, &origin, &gate).await;
    // Counted twice, the time would be more than two seconds.
    assert!(age(&arriving) <= begun.elapsed().as_secs(), "{:?}", arriving.headers());
    mirror.until("in_flight", 0).await;
    let hit = mirror.get("/a").send().await.unwrap();
    assert!(cache_status(&hit).contains("hit"), "{:?}", hit.headers());
    assert!(age(&hit) <= begun.elapsed().as_secs(), "{:?}", hit.headers());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_expires_in_the_last_second_of_9999_is_stored() {
    let cache = tempfile::TempDir::new().unwrap();
    let origin = sending("Expires: Fri, 31 Dec 9999 23:59:59 GMT\r\n");
    let mirror = Mirror::at(cache.path(), storage(&origin), json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    drop(mirror);
    let mirror = Mirror::at(cache.path(), storage(&origin), json!({}));
    let hit = mirror.get("/a").send().await.unwrap();
    assert!(ttl(&hit) > 1 << 31, "{:?}", hit.headers());
    // Clamped to the last second that every time format can express.
    assert!(hit.headers()["expires"].to_str().unwrap().contains("Dec 9999"), "{:?}", hit.headers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_varies_with_everything_is_not_reused() {
    let origin = sending("Cache-Control: max-age=1000\r\nVary: *\r\n");
    let mirror = Mirror::of(storage(&origin), json!({}));
    for _ in 0..2 {
        let (_, cache, body) = mirror.fetch("/a").await;
        assert!(cache.contains("origin forbids it"), "{cache}");
        assert_eq!(body, "hello");
        mirror.until("in_flight", 0).await;
    }
    assert_eq!(mirror.figure("objects").await, 0);
}
