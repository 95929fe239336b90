//! Reads if the mirror does not respond, responds with an error, or lacks the object.

use std::time::Duration;

use storage_core::{ErrorKind, Operation};
use storage_http_cache::HttpCacheBuilder;
use storage_testkit::http::{Gate, Peer, Response, closed_port};

use super::scene::{KEY, Scene, cached, foreign_object, later, refused};

const BODY: &str = "the bytes of origin";
/// The longest time that a breaker stays open. The time that a test takes adds to what it advances
/// its clock by, so a test of what is too early advances it by half of this.
const LONG: Duration = Duration::from_secs(600);

/// The failures after which the mirror sends no more and keeps the connection open.
const STALLS: [&str; 2] = ["no response", "a head that stalls"];

/// Returns the failures of a mirror, with a name for each.
fn failures() -> Vec<(&'static str, Response)> {
    let object = || foreign_object("\"x\"", "other bytes");
    let chunked = object().header("transfer-encoding", "chunked");
    vec![
        ("500", Response::new(500)),
        ("503", Response::new(503)),
        ("408", Response::new(408)),
        ("429", Response::new(429)),
        ("closed before a response", Response::disconnect()),
        ("no HTTP", Response::raw("SSH-2.0-OpenSSH_9.2\r\n").close()),
        ("half a head", Response::raw("HTTP/1.1 200 OK\r\ncontent-le").close()),
        ("no response", Response::never()),
        ("a head that stalls", Response::raw("HTTP/1.1 200 OK\r\netag: \"x\"\r\ncont").stall()),
        ("an unterminated chunked body", chunked.cut_after(5)),
        (
            "a body that ends with the connection",
            Response::raw("HTTP/1.1 200 OK\r\netag: \"x\"\r\n\r\nthe bytes of").close(),
        ),
        (
            "two lengths",
            Response::raw(
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nthe bytes",
            )
            .close(),
        ),
        ("not modified, without a condition", Response::new(304)),
        ("a part instead of the whole", {
            let head =
                "HTTP/1.1 206 Partial\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/19\r\n\r\n";
            Response::raw(format!("{head}the b")).close()
        }),
    ]
}

#[tokio::test]
async fn any_failure_of_the_mirror_leads_to_origin_and_penalises_the_key() {
    for (name, act) in failures() {
        let fault = act.clone();
        let scene = Scene::new(move |_| fault.clone());
        scene.object(KEY, BODY).await;
        let first = match STALLS.contains(&name) {
            true => scene.timed_out("GET /download/", 1, scene.read(KEY)).await,
            false => scene.read(KEY).await,
        };
        assert_eq!(first.unwrap(), BODY, "{name}");
        assert_eq!(scene.read(KEY).await.unwrap(), BODY, "{name}");
        assert_eq!(scene.mirror.count("GET /download/"), 1, "{name}");
        let status = &scene.cache.status();
        assert_eq!(
            (status.mirrors[0].failures, status.mirrors[0].hits),
            (1, 0),
            "{name}: {status:?}"
        );
        assert_eq!((scene.state(), status.from_origin), ("suspect", 2), "{name}");
    }
}

#[tokio::test]
async fn an_object_is_read_although_the_mirror_is_down() {
    let unused = Peer::start(|_| Response::disconnect());
    let scene =
        Scene::at(vec![closed_port()], unused, storage_core::Memory::storage(), |builder| builder);
    scene.object(KEY, BODY).await;
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    assert_eq!(scene.cache.status().mirrors[0].failures, 1, "the connection was not refused");
}

#[tokio::test]
async fn a_mirror_that_never_responds_gets_five_requests_for_100_keys() {
    let scene = Scene::new(|_| Response::never());
    for number in 1..=100 {
        let key = format!("k/{number}");
        scene.object(&key, BODY).await;
        let read = match number {
            ..=5 => scene.timed_out("GET /download/", number, scene.read(&key)).await,
            _ => scene.read(&key).await,
        };
        assert_eq!(read.unwrap(), BODY);
        assert_eq!(scene.mirror.fired(), number.min(5));
    }
    assert_eq!(scene.mirror.fired(), 5);
    assert_eq!(scene.state(), "open");
    assert_eq!(scene.cache.status().fallbacks, 100);
}

#[tokio::test]
async fn a_trial_that_succeeds_puts_the_mirror_back_into_use() {
    let scene = Scene::with(|builder| builder.breaker_open(LONG), |_| Response::new(500));
    let mut last = None;
    for number in 0..8 {
        last = Some(scene.object(&format!("k/{number}"), BODY).await);
        assert_eq!(scene.read(&format!("k/{number}")).await.unwrap(), BODY);
    }
    assert_eq!((scene.mirror.sound(), scene.state()), (5, "open"));

    let (gate, meta) = (Gate::new(), last.unwrap());
    let (held, response) = (gate.clone(), cached(&meta, BODY));
    scene.mirror.set_script(move |_| response.clone().delay(&held).fault());
    later(LONG / 2).await;
    assert_eq!(scene.read("k/7").await.unwrap(), BODY);
    assert_eq!(scene.mirror.fired(), 0, "the request came too early");

    later(LONG / 2).await;
    let storage = scene.storage.clone();
    let trial =
        tokio::spawn(async move { storage.open("k/7").await.unwrap().bytes().await.unwrap() });
    scene.mirror.until_requested("GET /download/", 6).await;
    let before = scene.opened_at_origin();
    for number in 5..7 {
        assert_eq!(scene.read(&format!("k/{number}")).await.unwrap(), BODY);
    }
    assert_eq!(
        (scene.mirror.fired(), scene.opened_at_origin()),
        (1, before + 2),
        "one trial at a time"
    );
    gate.open();
    assert_eq!(trial.await.unwrap(), BODY);
    assert_eq!((scene.state(), scene.opened_at_origin()), ("healthy", before + 2));
}

#[tokio::test]
async fn a_trial_that_fails_doubles_the_time_without_requests() {
    let time = LONG / 2;
    let set_up = |builder: HttpCacheBuilder| builder.breaker_failures(1).breaker_open(time);
    let scene = Scene::with(set_up, |_| Response::new(500));
    for number in 0..10 {
        scene.object(&format!("k/{number}"), BODY).await;
    }
    scene.read("k/0").await.unwrap();
    later(time).await;
    scene.read("k/1").await.unwrap();
    assert_eq!(scene.mirror.sound(), 2);
    later(time).await;
    scene.read("k/2").await.unwrap();
    assert_eq!(scene.mirror.sound(), 2, "the request came too early");
    later(time).await;
    scene.read("k/3").await.unwrap();
    assert_eq!(scene.mirror.sound(), 3);
}

#[tokio::test]
async fn a_failed_request_keeps_only_its_key_from_the_mirror_until_the_penalty_ends() {
    let scene = Scene::with(|builder| builder.key_penalty(LONG), |_| Response::new(503));
    scene.object(KEY, BODY).await;
    scene.object("other", BODY).await;
    scene.read(KEY).await.unwrap();
    scene.read("other").await.unwrap();
    assert_eq!(scene.mirror.sound(), 2);
    later(LONG / 2).await;
    scene.read(KEY).await.unwrap();
    assert_eq!(scene.mirror.sound(), 2, "the request came too early");
    later(LONG / 2).await;
    scene.read(KEY).await.unwrap();
    assert_eq!(scene.mirror.sound(), 3);
}

#[tokio::test]
async fn an_object_that_the_mirror_lacks_is_a_miss_and_not_a_failure() {
    for code in [404, 410, 301, 302, 307, 412, 416] {
        let scene =
            Scene::new(move |_| Response::new(code).header("location", "http://127.0.0.1:1/"));
        scene.object(KEY, BODY).await;
        for _ in 0..10 {
            assert_eq!(scene.read(KEY).await.unwrap(), BODY, "{code}");
        }
        assert_eq!((scene.mirror.sound(), scene.state()), (10, "healthy"), "{code}");
        let status = scene.cache.status();
        assert_eq!(
            (status.mirrors[0].misses, status.mirrors[0].failures, status.fallbacks),
            (10, 0, 0),
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_redirection_to_another_host_is_not_followed() {
    let elsewhere = Peer::start(|_| foreign_object("\"x\"", "bytes of another host"));
    let location = elsewhere.url().to_string();
    let scene = Scene::new(move |_| Response::new(302).header("location", location.clone()));
    scene.object(KEY, BODY).await;
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    assert_eq!((scene.mirror.sound(), elsewhere.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_refused_request_penalises_the_key_and_not_the_mirror() {
    for code in [401, 403, 400, 405] {
        let scene = Scene::new(move |_| Response::new(code));
        for number in 0..6 {
            let key = format!("k/{number}");
            scene.object(&key, BODY).await;
            for _ in 0..2 {
                assert_eq!(scene.read(&key).await.unwrap(), BODY, "{code}");
            }
        }
        assert_eq!((scene.mirror.sound(), scene.state()), (6, "healthy"), "{code}");
    }
}

#[tokio::test]
async fn an_object_that_neither_mirror_nor_origin_has_is_not_found() {
    let scene = Scene::new(|_| Response::new(404));
    let error = refused(scene.read(KEY).await, ErrorKind::NotFound);
    assert_eq!((error.key(), error.driver()), (Some(KEY), Some("http-cache")));
    assert_eq!(scene.mirror.sound(), 1);
}

#[tokio::test]
async fn a_missing_object_is_not_found_although_the_mirror_fails() {
    let scene = Scene::new(|_| Response::new(500));
    refused(scene.read(KEY).await, ErrorKind::NotFound);
    assert_eq!(scene.mirror.sound(), 1);
}

#[tokio::test]
async fn the_error_names_both_failures_if_mirror_and_origin_are_down() {
    let scene = Scene::with(|builder| builder.breaker_failures(1), |_| Response::new(503));
    let down = scene
        .faults
        .on(Operation::Open)
        .fail_with(|| storage_core::Error::new(ErrorKind::Timeout, "origin did not respond"));
    let error = refused(scene.read(KEY).await, ErrorKind::Timeout);
    for words in ["neither the mirror nor origin", "responds with 503", "origin did not respond"] {
        assert!(error.message().contains(words), "{words:?} is not in: {error}");
    }
    assert!(error.is_retryable());
    let error = refused(scene.read("another").await, ErrorKind::Timeout);
    assert!(error.message().contains("not used for a while"), "{error}");
    assert_eq!((scene.mirror.sound(), down.fired()), (1, 2));
}

#[tokio::test]
async fn a_failed_mirror_leads_to_the_next_mirror_before_origin() {
    let (down, up) = (Peer::start(|_| Response::new(500)), Peer::start(|_| Response::disconnect()));
    let urls = vec![down.url(), up.url()];
    let scene = Scene::at(urls, up, storage_core::Memory::storage(), |builder| builder);
    for number in 0..12 {
        let key = format!("k/{number}");
        let response = cached(&scene.object(&key, BODY).await, BODY);
        scene.mirror.set_script(move |_| response.clone());
        assert_eq!(scene.read(&key).await.unwrap(), BODY);
    }
    assert!(down.sound() > 0, "no key belongs to the mirror that is down");
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin()), (12, 0));
}

#[tokio::test]
async fn a_small_object_skips_the_mirror_once_its_size_is_known() {
    let scene = Scene::with(|builder| builder.min_size(100), |_| Response::disconnect());
    let response = cached(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.set_script(move |_| response.clone());
    for _ in 0..3 {
        assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    }
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin()), (1, 2));
}

#[tokio::test]
async fn a_range_comes_from_origin_if_the_mirror_ignores_ranges() {
    let scene = Scene::new(|_| Response::disconnect());
    let response = cached(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.set_script(move |_| response.clone());
    let part = scene.storage.open(KEY).range(4..9).await.unwrap();
    assert_eq!(part.range(), 4..9);
    assert_eq!(part.text().await.unwrap(), &BODY[4..9]);
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin(), scene.state()), (1, 1, "healthy"));
}

#[tokio::test]
async fn a_condition_or_range_that_fails_at_the_mirror_is_decided_by_origin() {
    let scene = Scene::new(|_| Response::disconnect());
    let old = scene.object(KEY, "old").await;
    let new = scene.object(KEY, BODY).await;
    scene.mirror.set_script(|request| {
        Response::new(if request.header("if-match").is_some() { 412 } else { 416 })
    });
    let (old, new) = (old.etag.unwrap(), new.etag.unwrap());
    assert_eq!(scene.storage.open(KEY).if_match(new).await.unwrap().text().await.unwrap(), BODY);
    refused(scene.storage.open(KEY).if_match(old).await, ErrorKind::PreconditionFailed);
    assert_eq!(
        scene.storage.open(KEY).range(10..).await.unwrap().text().await.unwrap(),
        &BODY[10..]
    );
    refused(scene.storage.open(KEY).range(100..).await, ErrorKind::RangeNotSatisfiable);
    assert_eq!((scene.mirror.sound(), scene.state()), (4, "healthy"));
}

#[tokio::test]
async fn not_modified_of_the_mirror_counts_unless_the_memo_contradicts_it() {
    let scene = Scene::new(|_| Response::new(304));
    let old = scene.object(KEY, "old").await.etag.unwrap();
    refused(scene.storage.open(KEY).if_none_match(old.clone()).await, ErrorKind::NotModified);
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin()), (1, 0));
    scene.object(KEY, BODY).await;
    scene.storage.stat(KEY).await.unwrap();
    assert_eq!(
        scene.storage.open(KEY).if_none_match(old).await.unwrap().text().await.unwrap(),
        BODY
    );
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin()), (2, 1));
}

#[tokio::test]
async fn stat_and_exists_read_from_origin() {
    let scene = Scene::new(|_| Response::disconnect());
    let response = cached(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.set_script(move |_| response.clone());
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    scene.origin.delete(KEY).await.unwrap();
    assert!(!scene.storage.exists(KEY).await.unwrap());
    refused(scene.storage.stat(KEY).await, ErrorKind::NotFound);
    // The memo records the absence, so the mirror is not used.
    refused(scene.read(KEY).await, ErrorKind::NotFound);
    scene.object(KEY, "new").await;
    assert!(scene.storage.exists(KEY).await.unwrap());
    assert_eq!(scene.storage.stat(KEY).await.unwrap().size, 3);
    assert_eq!(scene.mirror.count("GET /download/"), 1);
}

#[tokio::test]
async fn an_object_from_the_mirror_has_the_age_of_the_mirrors_response() {
    let scene = Scene::new(|_| Response::disconnect());
    let stored = scene.object(KEY, BODY).await;
    scene.mirror.set_script(move |_| cached(&stored, BODY).header("age", "59"));
    for round in ["the memo is empty", "the memo contains the metadata"] {
        let object = scene.storage.open(KEY).await.unwrap();
        let age = object.meta().response.map(|response| response.age).unwrap_or_default();
        assert!(age >= Duration::from_secs(59), "{round}: {age:?}");
        assert_eq!(object.bytes().await.unwrap(), BODY);
        scene.storage.stat(KEY).await.unwrap();
    }
    assert_eq!(scene.opened_at_origin(), 0);
}
