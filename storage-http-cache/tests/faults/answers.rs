//! What becomes of a read when the mirror gives no answer, a bad one, or leaves it to origin.

use std::time::Duration;

use storage_core::{ErrorKind, Operation};

use super::scene::{BRIEF, KEY, Scene, later, refused};
use super::staged::{Act, Answer, Gate, Staged, closed_port};

const BODY: &str = "the bytes of origin";

/// What is trouble with a mirror, by name.
fn troubles() -> Vec<(&'static str, Act)> {
    let object = || Answer::foreign("\"x\"", "other bytes");
    let chunked = object().header("transfer-encoding", "chunked");
    vec![
        ("500", Answer::new(500).into()),
        ("503", Answer::new(503).into()),
        ("408", Answer::new(408).into()),
        ("429", Answer::new(429).into()),
        ("closed before an answer", Act::Close),
        ("no HTTP", Act::Babble("SSH-2.0-OpenSSH_9.2\r\n".into())),
        ("half a head", Act::Babble("HTTP/1.1 200 OK\r\ncontent-le".into())),
        ("a black hole", Act::BlackHole),
        ("a head that stalls", Act::StallHead(object())),
        ("an unterminated chunked body", Act::CutBody(chunked, 5)),
        (
            "a body that ends with the connection",
            Act::Babble("HTTP/1.1 200 OK\r\netag: \"x\"\r\n\r\nthe bytes of".into()),
        ),
        (
            "two lengths",
            Act::Babble(
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nthe bytes".into(),
            ),
        ),
        ("not modified, without a condition", Answer::new(304).into()),
        ("a part where all was asked for", {
            let head =
                "HTTP/1.1 206 Partial\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/19\r\n\r\n";
            Act::Babble(format!("{head}the b").into())
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
    let nobody = Staged::start(|_| Act::Close);
    let scene =
        Scene::at(vec![closed_port()], nobody, storage_core::Memory::storage(), |builder| builder);
    scene.object(KEY, BODY).await;
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    assert_eq!(scene.cache.status().mirrors[0].failures, 1, "nobody refused a connection");
}

#[tokio::test]
async fn of_100_keys_a_black_hole_is_asked_for_5() {
    let scene = Scene::with(|builder| builder.header_timeout(BRIEF), |_| Act::BlackHole);
    for number in 0..100 {
        let key = format!("k/{number}");
        scene.object(&key, BODY).await;
        assert_eq!(scene.read(&key).await.unwrap(), BODY);
    }
    assert_eq!(scene.mirror.fired("BlackHole"), 5);
    assert_eq!(scene.state(), "open");
    assert_eq!(scene.cache.status().fallbacks, 100);
}

#[tokio::test]
async fn after_its_time_one_trial_is_made_and_one_that_succeeds_brings_the_mirror_back() {
    let scene = Scene::new(|_| Answer::new(500).into());
    let mut last = None;
    for number in 0..8 {
        last = Some(scene.object(&format!("k/{number}"), BODY).await);
        assert_eq!(scene.read(&format!("k/{number}")).await.unwrap(), BODY);
    }
    assert_eq!((scene.mirror.fired("Say"), scene.state()), (5, "open"));

    let (gate, meta) = (Gate::new(), last.unwrap());
    let (held, answer) = (gate.clone(), Answer::object(&meta, BODY));
    scene.mirror.now(move |_| Act::Hold(held.clone(), answer.clone()));
    later(Duration::from_secs(29)).await;
    assert_eq!(scene.read("k/7").await.unwrap(), BODY);
    assert_eq!(scene.mirror.fired("Hold"), 0, "it was asked too early");

    later(Duration::from_secs(1)).await;
    let storage = scene.storage.clone();
    let trial =
        tokio::spawn(async move { storage.open("k/7").await.unwrap().bytes().await.unwrap() });
    scene.mirror.until("GET /download/", 6).await;
    let before = scene.opened_at_origin();
    for number in 5..7 {
        assert_eq!(scene.read(&format!("k/{number}")).await.unwrap(), BODY);
    }
    assert_eq!(
        (scene.mirror.fired("Hold"), scene.opened_at_origin()),
        (1, before + 2),
        "one trial at a time"
    );
    gate.open();
    assert_eq!(trial.await.unwrap(), BODY);
    assert_eq!((scene.state(), scene.opened_at_origin()), ("healthy", before + 2));
}

#[tokio::test]
async fn a_trial_that_fails_doubles_the_time() {
    let scene = Scene::with(|builder| builder.breaker_failures(1), |_| Answer::new(500).into());
    for number in 0..10 {
        scene.object(&format!("k/{number}"), BODY).await;
    }
    scene.read("k/0").await.unwrap();
    later(Duration::from_secs(30)).await;
    scene.read("k/1").await.unwrap();
    assert_eq!(scene.mirror.fired("Say"), 2);
    later(Duration::from_secs(59)).await;
    scene.read("k/2").await.unwrap();
    assert_eq!(scene.mirror.fired("Say"), 2, "it was asked too early");
    later(Duration::from_secs(1)).await;
    scene.read("k/3").await.unwrap();
    assert_eq!(scene.mirror.fired("Say"), 3);
}

#[tokio::test]
async fn a_key_in_trouble_is_asked_for_again_after_its_penalty_and_others_at_once() {
    let scene = Scene::new(|_| Answer::new(503).into());
    scene.object(KEY, BODY).await;
    scene.object("other", BODY).await;
    scene.read(KEY).await.unwrap();
    scene.read("other").await.unwrap();
    assert_eq!(scene.mirror.fired("Say"), 2);
    later(Duration::from_secs(19)).await;
    scene.read(KEY).await.unwrap();
    assert_eq!(scene.mirror.fired("Say"), 2, "it was asked too early");
    later(Duration::from_secs(1)).await;
    scene.read(KEY).await.unwrap();
    assert_eq!(scene.mirror.fired("Say"), 3);
}

#[tokio::test]
async fn what_the_mirror_does_not_have_origin_has_and_that_is_no_trouble() {
    for code in [404, 410, 301, 302, 307, 412, 416] {
        let scene =
            Scene::new(move |_| Answer::new(code).header("location", "http://127.0.0.1:1/").into());
        scene.object(KEY, BODY).await;
        for _ in 0..10 {
            assert_eq!(scene.read(KEY).await.unwrap(), BODY, "{code}");
        }
        assert_eq!((scene.mirror.fired("Say"), scene.state()), (10, "healthy"), "{code}");
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
    let elsewhere = Staged::start(|_| Answer::foreign("\"x\"", "bytes of a stranger").into());
    let location = elsewhere.url().to_string();
    let scene = Scene::new(move |_| Answer::new(302).header("location", location.clone()).into());
    scene.object(KEY, BODY).await;
    assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    assert_eq!((scene.mirror.fired("Say"), elsewhere.asked().len()), (1, 0));
}

#[tokio::test]
async fn a_mirror_that_refuses_is_not_asked_for_the_key_for_a_while_and_is_not_in_trouble() {
    for code in [401, 403, 400, 405] {
        let scene = Scene::new(move |_| Answer::new(code).into());
        for number in 0..6 {
            let key = format!("k/{number}");
            scene.object(&key, BODY).await;
            for _ in 0..2 {
                assert_eq!(scene.read(&key).await.unwrap(), BODY, "{code}");
            }
        }
        assert_eq!((scene.mirror.fired("Say"), scene.state()), (6, "healthy"), "{code}");
    }
}

#[tokio::test]
async fn what_neither_has_is_not_found() {
    let scene = Scene::new(|_| Answer::new(404).into());
    let error = refused(scene.read(KEY).await, ErrorKind::NotFound);
    assert_eq!((error.key(), error.driver()), (Some(KEY), Some("http-cache")));
    assert_eq!(scene.mirror.fired("Say"), 1);
}

#[tokio::test]
async fn a_mirror_in_trouble_does_not_make_a_missing_object_an_error() {
    let scene = Scene::new(|_| Answer::new(500).into());
    refused(scene.read(KEY).await, ErrorKind::NotFound);
    assert_eq!(scene.mirror.fired("Say"), 1);
}

#[tokio::test]
async fn when_both_are_down_the_error_names_both() {
    let scene = Scene::with(|builder| builder.breaker_failures(1), |_| Answer::new(503).into());
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
    assert_eq!((scene.mirror.fired("Say"), down.fired()), (1, 2));
}

#[tokio::test]
async fn the_next_mirror_is_asked_before_origin() {
    let (down, up) = (Staged::start(|_| Answer::new(500).into()), Staged::start(|_| Act::Close));
    let urls = vec![down.url(), up.url()];
    let scene = Scene::at(urls, up, storage_core::Memory::storage(), |builder| builder);
    for number in 0..12 {
        let key = format!("k/{number}");
        let answer = Answer::object(&scene.object(&key, BODY).await, BODY);
        scene.mirror.now(move |_| answer.clone().into());
        assert_eq!(scene.read(&key).await.unwrap(), BODY);
    }
    assert!(down.fired("Say") > 0, "no key belonged to the mirror that is down");
    assert_eq!((scene.mirror.fired("Say"), scene.opened_at_origin()), (12, 0));
}

#[tokio::test]
async fn a_small_object_skips_the_mirror_once_its_size_is_known() {
    let scene = Scene::with(|builder| builder.min_size(100), |_| Act::Close);
    let answer = Answer::object(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.now(move |_| answer.clone().into());
    for _ in 0..3 {
        assert_eq!(scene.read(KEY).await.unwrap(), BODY);
    }
    assert_eq!((scene.mirror.fired("Say"), scene.opened_at_origin()), (1, 2));
}

#[tokio::test]
async fn a_mirror_that_does_not_know_ranges_leaves_them_to_origin() {
    let scene = Scene::new(|_| Act::Close);
    let answer = Answer::object(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.now(move |_| answer.clone().into());
    let part = scene.storage.open(KEY).range(4..9).await.unwrap();
    assert_eq!(part.range(), 4..9);
    assert_eq!(part.text().await.unwrap(), &BODY[4..9]);
    assert_eq!(
        (scene.mirror.fired("Say"), scene.opened_at_origin(), scene.state()),
        (1, 1, "healthy")
    );
}

#[tokio::test]
async fn what_a_mirror_says_of_conditions_and_ranges_that_an_old_version_fails_is_origins_to_say() {
    let scene = Scene::new(|_| Act::Close);
    let old = scene.object(KEY, "old").await;
    let new = scene.object(KEY, BODY).await;
    scene.mirror.now(|asked| {
        Answer::new(if asked.header("if-match").is_some() { 412 } else { 416 }).into()
    });
    let (old, new) = (old.etag.unwrap(), new.etag.unwrap());
    assert_eq!(scene.storage.open(KEY).if_match(new).await.unwrap().text().await.unwrap(), BODY);
    refused(scene.storage.open(KEY).if_match(old).await, ErrorKind::PreconditionFailed);
    assert_eq!(
        scene.storage.open(KEY).range(10..).await.unwrap().text().await.unwrap(),
        &BODY[10..]
    );
    refused(scene.storage.open(KEY).range(100..).await, ErrorKind::RangeNotSatisfiable);
    assert_eq!((scene.mirror.fired("Say"), scene.state()), (4, "healthy"));
}

#[tokio::test]
async fn not_modified_is_believed_unless_origin_has_said_otherwise() {
    let scene = Scene::new(|_| Answer::new(304).into());
    let old = scene.object(KEY, "old").await.etag.unwrap();
    refused(scene.storage.open(KEY).if_none_match(old.clone()).await, ErrorKind::NotModified);
    assert_eq!((scene.mirror.fired("Say"), scene.opened_at_origin()), (1, 0));
    scene.object(KEY, BODY).await;
    scene.storage.stat(KEY).await.unwrap();
    assert_eq!(
        scene.storage.open(KEY).if_none_match(old).await.unwrap().text().await.unwrap(),
        BODY
    );
    assert_eq!((scene.mirror.fired("Say"), scene.opened_at_origin()), (2, 1));
}

#[tokio::test]
async fn stat_and_exists_ask_origin_whatever_the_mirror_has() {
    let scene = Scene::new(|_| Act::Close);
    let answer = Answer::object(&scene.object(KEY, BODY).await, BODY);
    scene.mirror.now(move |_| answer.clone().into());
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
    let scene = Scene::new(|_| Act::Close);
    let stored = scene.object(KEY, BODY).await;
    scene.mirror.now(move |_| Answer::object(&stored, BODY).header("age", "59").into());
    for round in ["the driver knows nothing of the object", "origin has stated its metadata"] {
        let object = scene.storage.open(KEY).await.unwrap();
        let age = object.meta().response.map(|response| response.age).unwrap_or_default();
        assert!(age >= Duration::from_secs(59), "{round}: {age:?}");
        assert_eq!(object.bytes().await.unwrap(), BODY);
        scene.storage.stat(KEY).await.unwrap();
    }
    assert_eq!(scene.opened_at_origin(), 0);
}
