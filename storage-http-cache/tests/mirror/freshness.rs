//! How long what is kept is served, and what then.

use serde_json::json;
use storage_core::{ErrorKind, Memory, Operation};

use crate::common::{Mirror, faulty};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_is_revalidated_by_one_conditional_request() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0").await.unwrap();
    let mirror = Mirror::of(origin.clone(), json!({}));
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
async fn what_is_stale_is_served_with_its_age_when_origin_fails() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, stale-if-error=100").await.unwrap();
    let mirror = Mirror::of(origin, json!({ "stale_if_error": "0s" }));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let down = faults.on(Operation::Open).fail(ErrorKind::RateLimited);
    let answer = mirror.get("/a").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert!(answer.headers().contains_key("age"));
    assert_eq!(answer.text().await.unwrap(), "hello");
    assert_eq!(down.fired(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_revalidated_is_504_when_origin_fails() {
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
async fn what_is_stale_is_served_at_once_where_origin_allows_it() {
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
async fn what_origin_forbids_to_keep_is_not_kept() {
    let (origin, faults) = faulty();
    for (key, said) in [("a", "no-store"), ("b", "private, max-age=100")] {
        origin.save(key, "hello").cache_control(said).await.unwrap();
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
async fn what_is_not_there_is_asked_for_once_in_its_time() {
    let (origin, faults) = faulty();
    let mirror = Mirror::of(origin.clone(), json!({ "negative_ttl": "1h" }));
    for _ in 0..3 {
        assert_eq!(mirror.fetch("/a").await.0.as_u16(), 404);
    }
    assert_eq!(faults.calls(Operation::Open), 1);
    // Whoever saves it purges.
    origin.save("a", "hello").await.unwrap();
    mirror.post("/purge/a").send().await.unwrap();
    assert_eq!(mirror.fetch("/a").await.2, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_origin_has_no_longer_is_gone() {
    let origin = Memory::storage();
    origin.save("a", "hello").cache_control("max-age=0").await.unwrap();
    let mirror = Mirror::of(origin.clone(), json!({}));
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
        let (told, _, body) = mirror.fetch("/a").await;
        assert_eq!((told.as_u16(), down.fired()), (status, 1), "{kind:?}");
        assert!(!body.contains("planned"), "{body}");
        mirror.until("in_flight", 0).await;
    }
    assert_eq!(mirror.fetch("/a").await.2, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_origin_refuses_by_now_is_not_served_any_more() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, stale-if-error=100").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let withdrawn = faults.on(Operation::Open).fail(ErrorKind::PermissionDenied);
    let (status, _, body) = mirror.fetch("/a").await;
    assert!(status.is_server_error() && !body.contains("hello"), "{status}: {body}");
    assert_eq!(withdrawn.fired(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_hangs_does_not_hold_up_what_may_be_served_stale() {
    let (origin, faults) = faulty();
    origin.save("a", "hello").cache_control("max-age=0, stale-if-error=100").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    let hangs = faults.on(Operation::Open).call(1).hold();
    let (_, cache, body) = mirror.fetch("/a").await;
    assert!(cache.contains("origin failed"), "{cache}");
    assert_eq!((&*body, hangs.fired()), ("hello", 1));
    hangs.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_brings_the_metadata_of_now() {
    let origin = Memory::storage();
    origin.save("a", "hello").cache_control("max-age=0").await.unwrap();
    let mirror = Mirror::of(origin.clone(), json!({}));
    mirror.fetch("/a").await;
    mirror.until("in_flight", 0).await;
    // The same bytes; whether they are the same version is the driver's to say.
    let private = storage_core::Metadata::new().cache_control("private, max-age=100");
    origin.copy("a", "a").metadata(private).await.unwrap();
    let (_, cache, _) = mirror.fetch("/a").await;
    assert!(cache.contains("origin forbids it"), "{cache}");
    assert_eq!(mirror.figure("objects").await, 0);
}
