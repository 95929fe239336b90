//! What becomes of a read when the mirror gives no answer, a bad one, or leaves it to origin.

use std::time::Duration;

use storage_core::{ErrorKind, Operation};
use storage_testkit::http::{Gate, Peer, Response, closed_port};

use super::scene::{BRIEF, KEY, Scene, cached, foreign_object, later, refused};

const BODY: &str = "the bytes of origin";

/// What is trouble with a mirror, by name.
fn troubles() -> Vec<(&'static str, Response)> {
    let object = || foreign_object("\"x\"", "other bytes");
    let chunked = object().header("transfer-encoding", "chunked");
    vec![
        ("500", Response::new(500)),
        ("503", Response::new(503)),
        ("408", Response::new(408)),
        ("429", Response::new(429)),
        ("closed before an answer", Response::disconnect()),
        ("no HTTP", Response::raw("SSH-2.0-OpenSSH_9.2\r\n").close()),
        ("half a head", Response::raw("HTTP/1.1 200 OK\r\ncontent-le").close()),
        ("a black hole", Response::never()),
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
        ("a part where all was asked for", {
            let head =
                "HTTP/1.1 206 Partial\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/19\r\n\r\n";
            Response::raw(format!("{head}the b")).close()
        }),
    ]
}

#[tokio::test]
async fn whatever_the_trouble_origin_answers_and_the_key_is_not_asked_for_again() {
    for (name, act) in troubles() {
        let fault = act.clone();
        let scene = Scene::with(|builder| builder.header_timeout(BRIEF), move |_| fault.clone());
        scene.object(KEY, BODY).await;
        for _ in 0..2 {
            assert_eq!(scene.read(KEY).await.unwrap(), BODY, "{name}");
        }
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
async fn a_mirror_that_is_down_is_not_noticed() {
    let nobody = Peer::start(|_| Response::disconnect());
    let scene =
        Scene::at(vec![closed_port()], nobody, storage_core::Memory::storage(), |builder| builder);
    scene.object(KEY, BODY).await;
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    assert_eq!(scene.cache.status().mirrors[0].failures, 1, "nobody refused a connection");
}

#[tokio::test]
async fn of_100_keys_a_black_hole_is_asked_for_5() {
    let scene = Scene::with(|builder| builder.header_timeout(BRIEF), |_| Response::never());
    for number in 0..100 {
        let key = format!("k/{number}");
        scene.object(&key, BODY).await;
        assert_eq!(scene.read(&key).await.unwrap(), BODY);
    }
    assert_eq!(scene.mirror.fired(), 5);
    assert_eq!(scene.state(), "open");
    assert_eq!(scene.cache.status().fallbacks, 100);
}

#[tokio::test]
async fn after_its_time_one_trial_is_made_and_one_that_succeeds_brings_the_mirror_back() {
    let scene = Scene::new(|_| Response::new(500));
    let mut last = None;
    for number in 0..8 {
        last = Some(scene.object(&format!("k/{number}"), BODY).await);
        assert_eq!(scene.read(&format!("k/{number}")).await.unwrap(), BODY);
    }
    assert_eq!((scene.mirror.sound(), scene.state()), (5, "open"));

    let (gate, meta) = (Gate::new(), last.unwrap());
    let (held, answer) = (gate.clone(), cached(&meta, BODY));
    scene.mirror.set_script(move |_| answer.clone().delay(&held).fault());
    later(Duration::from_secs(29)).await;
    assert_eq!(scene.read("k/7").await.unwrap(), BODY);
    assert_eq!(scene.mirror.fired(), 0, "it was asked too early");

    later(Duration::from_secs(1)).await;
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
async fn a_trial_that_fails_doubles_the_time() {
    let scene = Scene::with(|builder| builder.breaker_failures(1), |_| Response::new(500));
    for number in 0..10 {
        scene.object(&format!("k/{number}"), BODY).await;
    }
    scene.read("k/0").await.unwrap();
    later(Duration::from_secs(30)).await;
    scene.read("k/1").await.unwrap();
    assert_eq!(scene.mirror.sound(), 2);
    later(Duration::from_secs(59)).await;
    scene.read("k/2").await.unwrap();
    assert_eq!(scene.mirror.sound(), 2, "it was asked too early");
    later(Duration::from_secs(1)).await;
    scene.read("k/3").await.unwrap();
    assert_eq!(scene.mirror.sound(), 3);
}

#[tokio::test]
async fn a_key_in_trouble_is_asked_for_again_after_its_penalty_and_others_at_once() {
    let scene = Scene::new(|_| Response::new(503));
    scene.object(KEY, BODY).await;
    scene.object("other", BODY).await;
    scene.read(KEY).await.unwrap();
    scene.read("other").await.unwrap();
    assert_eq!(scene.mirror.sound(), 2);
    later(Duration::from_secs(19)).await;
    scene.read(KEY).await.unwrap();
    assert_eq!(scene.mirror.sound(), 2, "it was asked too early");
    later(Duration::from_secs(1)).await;
    scene.read(KEY).await.unwrap();
    assert_eq!(scene.mirror.sound(), 3);
}

#[tokio::test]
async fn what_the_mirror_does_not_have_origin_has_and_that_is_no_trouble() {
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
async fn a_redirection_is_not_followed() {
    let elsewhere = Peer::start(|_| foreign_object("\"x\"", "bytes of a stranger"));
    let location = elsewhere.url().to_string();
    let scene = Scene::new(move |_| Response::new(302).header("location", location.clone()));
    scene.object(KEY, BODY).await;
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    assert_eq!((scene.mirror.sound(), elsewhere.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_mirror_that_refuses_is_not_asked_for_the_key_for_a_while_and_is_not_in_trouble() {
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
async fn what_neither_has_is_not_found() {
    let scene = Scene::new(|_| Response::new(404));
    let error = refused(scene.read(KEY).await, ErrorKind::NotFound);
    assert_eq!((error.key(), error.driver()), (Some(KEY), Some("http-cache")));
    assert_eq!(scene.mirror.sound(), 1);
}

#[tokio::test]
async fn a_mirror_in_trouble_does_not_make_a_missing_object_an_error() {
    let scene = Scene::new(|_| Response::new(500));
    refused(scene.read(KEY).await, ErrorKind::NotFound);
    assert_eq!(scene.mirror.sound(), 1);
}

#[tokio::test]
async fn when_both_are_down_the_error_names_both() {
    let scene = Scene::with(|builder| builder.breaker_failures(1), |_| Response::new(503));
    let down = scene
        .faults
        .on(Operation::Open)
        .fail_with(|| storage_core::Error::new(ErrorKind::Timeout, "origin gave no answer"));
    let error = refused(scene.read(KEY).await, ErrorKind::Timeout);
    for words in ["neither mirror nor origin", "answers 503", "origin gave no answer"] {
        assert!(error.message().contains(words), "{words:?} is not in: {error}");
    }
    assert!(error.is_retryable());
    let error = refused(scene.read("another").await, ErrorKind::Timeout);
    assert!(error.message().contains("left alone"), "{error}");
    assert_eq!((scene.mirror.sound(), down.fired()), (1, 2));
}

#[tokio::test]
async fn the_next_mirror_is_asked_before_origin() {
    let (down, up) = (Peer::start(|_| Response::new(500)), Peer::start(|_| Response::disconnect()));
    let urls = vec![down.url(), up.url()];
    let scene = Scene::at(urls, up, storage_core::Memory::storage(), |builder| builder);
    for number in 0..12 {
        let key = format!("k/{number}");
        let answer = cached(&scene.object(&key, BODY).await, BODY);
        scene.mirror.set_script(move |_| answer.clone());
        assert_eq!(scene.read(&key).await.unwrap(), BODY);
    }
    assert!(down.sound() > 0, "no key belonged to the mirror that is down");
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin()), (12, 0));
}

#[tokio::test]
async fn a_small_object_skips_the_mirror_once_its_size_is_known() {
    let scene = Scene::with(|builder| builder.min_size(100), |_| Response::disconnect());
    let answer = cached(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.set_script(move |_| answer.clone());
    for _ in 0..3 {
        assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    }
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin()), (1, 2));
}

#[tokio::test]
async fn a_mirror_that_does_not_know_ranges_leaves_them_to_origin() {
    let scene = Scene::new(|_| Response::disconnect());
    let answer = cached(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.set_script(move |_| answer.clone());
    let part = scene.storage.open(KEY).range(4..9).await.unwrap();
    assert_eq!(part.range(), 4..9);
    assert_eq!(part.text().await.unwrap(), &BODY[4..9]);
    assert_eq!((scene.mirror.sound(), scene.opened_at_origin(), scene.state()), (1, 1, "healthy"));
}

#[tokio::test]
async fn what_a_mirror_says_of_conditions_and_ranges_that_an_old_version_fails_is_origins_to_say() {
    let scene = Scene::new(|_| Response::disconnect());
    let old = scene.object(KEY, "old").await;
    let new = scene.object(KEY, BODY).await;
    scene.mirror.set_script(|asked| {
        Response::new(if asked.header("if-match").is_some() { 412 } else { 416 })
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
async fn not_modified_is_believed_unless_origin_has_said_otherwise() {
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
async fn stat_and_exists_ask_origin_whatever_the_mirror_has() {
    let scene = Scene::new(|_| Response::disconnect());
    let answer = cached(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.set_script(move |_| answer.clone());
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    scene.origin.delete(KEY).await.unwrap();
    assert!(!scene.storage.exists(KEY).await.unwrap());
    refused(scene.storage.stat(KEY).await, ErrorKind::NotFound);
    // What was seen to be gone is not read from the mirror either.
    refused(scene.read(KEY).await, ErrorKind::NotFound);
    scene.object(KEY, "new").await;
    assert!(scene.storage.exists(KEY).await.unwrap());
    assert_eq!(scene.storage.stat(KEY).await.unwrap().size, 3);
    assert_eq!(scene.mirror.count("GET /download/"), 1);
}

#[tokio::test]
async fn an_object_from_the_mirror_carries_the_age_of_the_mirrors_response() {
    let scene = Scene::new(|_| Response::disconnect());
    let stored = scene.object(KEY, BODY).await;
    scene.mirror.set_script(move |_| cached(&stored, BODY).header("age", "59"));
    for round in ["the driver knows nothing of the object", "origin has stated its metadata"] {
        let object = scene.storage.open(KEY).await.unwrap();
        let age = object.meta().response.map(|response| response.age).unwrap_or_default();
        assert!(age >= Duration::from_secs(59), "{round}: {age:?}");
        assert_eq!(object.bytes().await.unwrap(), BODY);
        scene.storage.stat(KEY).await.unwrap();
    }
    assert_eq!(scene.opened_at_origin(), 0);
}
