//! Bodies that break off, stall or are wrong: the bytes of origin or an error, never bytes of two
//! versions.

use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind, Object, Operation, Storage};
use storage_http_cache::HttpCacheBuilder;
use storage_testkit::http::{Peer, Request, Response};
use storage_testkit::scripted::{BodyKind, Scripted};

use super::scene::{
    BRIEF, GENEROUS, KEY, LARGE, Scene, assert_same, cached, foreign_object, later, pattern,
    purging, refused,
};

/// Where the mirror's body ends.
const CUT: usize = 400_000;

/// A way in which a body fails in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFault {
    Cut,
    Stall,
}

impl BodyFault {
    const ALL: [Self; 2] = [Self::Cut, Self::Stall];

    fn apply(self, response: Response, after: usize) -> Response {
        match self {
            Self::Cut => response.cut_after(after),
            Self::Stall => response.stall_after(after),
        }
    }
}

/// Builds a scene in which the bodies of this object fail in this way.
async fn failing(fault: BodyFault, body: &Bytes) -> Scene {
    let scene = Scene::new(|_| Response::disconnect());
    let meta = scene.object(KEY, body.clone()).await;
    let response = cached(&meta, body.clone());
    scene.mirror.set_script(move |request| fault.apply(response.clone().in_range(request), CUT));
    scene
}

/// Reads a body until the mirror sends no more, then does something, then reads the rest. If the
/// body stalls, the idle timeout passes after all bytes of the mirror have arrived.
async fn read_past_the_cut(
    object: Object,
    fault: BodyFault,
    at_the_cut: impl AsyncFnOnce(),
) -> (Vec<u8>, storage_core::Result<()>) {
    let mut chunks = object.into_stream();
    let mut read = Vec::new();
    while read.len() < CUT {
        read.extend_from_slice(&chunks.try_next().await.unwrap().unwrap());
    }
    assert_eq!(read.len(), CUT, "a chunk of the mirror ends at the cut");
    at_the_cut().await;
    let mut next = match fault {
        BodyFault::Cut => chunks.try_next().await,
        BodyFault::Stall => tokio::join!(chunks.try_next(), later(GENEROUS)).0,
    };
    loop {
        match next {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => return (read, Ok(())),
            Err(error) => return (read, Err(error)),
        }
        next = chunks.try_next().await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_stalls_continues_at_origin_at_the_next_byte() {
    let body = pattern(1, LARGE);
    for fault in BodyFault::ALL {
        let scene = failing(fault, &body).await;
        let object = scene.storage.open(KEY).await.unwrap();
        let (read, end) = read_past_the_cut(object, fault, async || ()).await;
        end.unwrap();
        assert_same(&read, &body);
        assert_eq!((scene.mirror.fired(), scene.opened_at_origin()), (1, 1), "{fault:?}");
        let status = scene.cache.status();
        assert_eq!(status.bytes_from_origin, (LARGE - CUT) as u64, "{fault:?}");
        let mirror = &status.mirrors[0];
        assert_eq!((mirror.bytes, mirror.resumed_bodies), (CUT as u64, 1), "{fault:?}");
        assert_eq!((scene.state(), mirror.consecutive_failures), ("suspect", 1), "{fault:?}");
    }
}

#[tokio::test]
async fn a_range_that_breaks_off_or_stalls_continues_at_origin() {
    let body = pattern(1, LARGE);
    for fault in BodyFault::ALL {
        let scene = failing(fault, &body).await;
        let range = 100_000..900_000;
        let part = scene.storage.open(KEY).range(range.clone()).await.unwrap();
        assert_eq!(part.range(), range);
        let (read, end) = read_past_the_cut(part, fault, async || ()).await;
        end.unwrap();
        assert_same(&read, &body[100_000..900_000]);
        assert_eq!(scene.mirror.fired(), 1);
        assert_eq!(scene.cache.status().bytes_from_origin, 400_000, "{fault:?}");
    }
}

#[tokio::test]
async fn a_body_with_too_long_a_stated_length_ends_with_an_error() {
    let body = pattern(1, LARGE);
    let scene = Scene::new(|_| Response::disconnect());
    let meta = scene.object(KEY, body.clone()).await;
    let response = cached(&meta, body.clone()).header("content-length", (LARGE + 10).to_string());
    scene.mirror.set_script(move |_| Response::cut_after(response.clone(), LARGE));
    // The stated length is greater than the object, so origin cannot continue the body.
    let error = refused(scene.read(KEY).await, ErrorKind::Integrity);
    assert!(error.is_retryable() && error.message().contains("another version"), "{error}");
    assert_same(&scene.read(KEY).await.unwrap(), &body);
    assert_eq!(scene.mirror.fired(), 1);
}

#[tokio::test]
async fn an_object_whose_length_contradicts_the_memo_is_read_from_origin() {
    let body = pattern(1, LARGE);
    let scene = Scene::new(|_| Response::disconnect());
    let meta = scene.object(KEY, body.clone()).await;
    scene.storage.stat(KEY).await.unwrap();
    let response = cached(&meta, body.slice(..LARGE / 2));
    scene.mirror.set_script(purging(move |_| response.clone()));
    assert_same(&scene.read(KEY).await.unwrap(), &body);
    assert_eq!((scene.mirror.count("GET "), scene.cache.status().mirrors[0].stale), (1, 1));
}

#[tokio::test]
async fn a_small_body_that_breaks_off_is_replaced_by_the_current_one_of_origin() {
    for (fault, idle_timeout) in [(BodyFault::Cut, GENEROUS), (BodyFault::Stall, BRIEF)] {
        let set_up = |builder: HttpCacheBuilder| builder.idle_timeout(idle_timeout);
        let scene = Scene::with(set_up, |_| Response::disconnect());
        let meta = scene.object(KEY, "the old bytes").await;
        let response = cached(&meta, "the old bytes");
        scene.mirror.set_script(move |_| fault.apply(response.clone(), 5));
        scene.object(KEY, "the new bytes, which are more").await;
        assert_eq!(scene.read(KEY).await.unwrap(), "the new bytes, which are more", "{fault:?}");
        assert_eq!((scene.mirror.fired(), scene.state()), (1, "suspect"));
    }
}

#[tokio::test]
async fn five_bodies_that_break_off_open_the_breaker() {
    let body = pattern(1, LARGE);
    let scene = Scene::new(|_| Response::disconnect());
    for number in 0..8 {
        let key = format!("k/{number}");
        let response = cached(&scene.object(&key, body.clone()).await, body.clone());
        scene.mirror.set_script(move |_| response.clone().cut_after(CUT));
        assert_same(&scene.read(&key).await.unwrap(), &body);
    }
    assert_eq!((scene.mirror.fired(), scene.state()), (5, "open"));
}

#[tokio::test]
async fn a_body_never_contains_bytes_of_two_versions() {
    let (old, new) = (pattern(1, LARGE), pattern(2, LARGE));
    for fault in BodyFault::ALL {
        let scene = failing(fault, &old).await;
        let object = scene.storage.open(KEY).await.unwrap();
        let replace = async || drop(scene.object(KEY, new.clone()).await);
        let (read, end) = read_past_the_cut(object, fault, replace).await;
        let error = refused(end, ErrorKind::Integrity);
        assert!(
            error.is_retryable() && error.message().contains("bytes of two versions"),
            "{error}"
        );
        assert_same(&read, &old[..CUT]);
        assert_eq!(scene.mirror.fired(), 1);
        // The next read returns the new version, because the key skips the mirror.
        assert_same(&scene.read(KEY).await.unwrap(), &new);
    }
}

#[tokio::test]
async fn a_body_never_contains_bytes_of_two_versions_if_origin_ignores_conditions() {
    let (old, new) = (pattern(1, LARGE), pattern(2, LARGE));
    let mirror = Peer::start(|_| Response::disconnect());
    let mut origin = Scripted::new();
    origin.ignores_conditions = true;
    origin.bodies_are(BodyKind::Memory);
    let scene = Scene::at(vec![mirror.url()], mirror, Storage::new(origin), |builder| builder);
    let response = cached(&scene.object(KEY, old.clone()).await, old.clone());
    scene.mirror.set_script(move |_| response.clone().cut_after(CUT));
    let object = scene.storage.open(KEY).await.unwrap();
    let replace = async || drop(scene.object(KEY, new.clone()).await);
    let (read, end) = read_past_the_cut(object, BodyFault::Cut, replace).await;
    refused(end, ErrorKind::Integrity);
    assert_same(&read, &old[..CUT]);
    assert_eq!(scene.mirror.fired(), 1);
}

#[tokio::test]
async fn a_body_ends_with_an_error_if_the_object_is_deleted_in_the_middle() {
    let body = pattern(1, LARGE);
    let scene = failing(BodyFault::Cut, &body).await;
    let object = scene.storage.open(KEY).await.unwrap();
    let delete = async || scene.origin.delete(KEY).await.unwrap();
    let (read, end) = read_past_the_cut(object, BodyFault::Cut, delete).await;
    assert!(refused(end, ErrorKind::Integrity).is_retryable());
    assert_same(&read, &body[..CUT]);
    assert_eq!(scene.mirror.fired(), 1);
    refused(scene.read(KEY).await, ErrorKind::NotFound);
}

#[tokio::test]
async fn the_error_names_both_failures_if_origin_cannot_continue_a_body() {
    let body = pattern(1, LARGE);
    let scene = failing(BodyFault::Cut, &body).await;
    let down = scene.faults.on(Operation::Open).fail(ErrorKind::Timeout);
    let error = refused(scene.read(KEY).await, ErrorKind::Timeout);
    assert!(error.message().contains("the mirror failed in the middle"), "{error}");
    assert!(error.message().contains("as planned by the test"), "{error}");
    assert_eq!((scene.mirror.fired(), down.fired()), (1, 1));
}

/// Builds a scene with a mirror that makes its own ETags, as the original server does, and whose
/// bodies break off.
async fn foreign(at_mirror: &Bytes, at_origin: &Bytes) -> Scene {
    let response = foreign_object("\"1700000000.0-1000000-42\"", at_mirror.clone());
    let scene =
        Scene::new(move |request: &Request| response.clone().in_range(request).cut_after(CUT));
    scene.object(KEY, at_origin.clone()).await;
    scene
}

#[tokio::test]
async fn a_body_with_a_foreign_etag_continues_at_origin_if_its_digest_matches() {
    let body = pattern(1, LARGE);
    let scene = foreign(&body, &body).await;
    assert_same(&scene.read(KEY).await.unwrap(), &body);
    let part = scene.storage.open(KEY).range(100_000..).await.unwrap();
    assert_same(&part.bytes().await.unwrap(), &body[100_000..]);
    assert_eq!((scene.mirror.fired(), scene.cache.status().mirrors[0].resumed_bodies), (1, 1));
}

#[tokio::test]
async fn a_range_with_a_foreign_etag_continues_at_origin_if_its_digest_matches() {
    let body = pattern(1, LARGE);
    let scene = foreign(&body, &body).await;
    let part = scene.storage.open(KEY).range(100_000..900_000).await.unwrap();
    assert_same(&part.bytes().await.unwrap(), &body[100_000..900_000]);
    assert_eq!((scene.mirror.fired(), scene.cache.status().mirrors[0].resumed_bodies), (1, 1));
}

#[tokio::test]
async fn a_body_with_a_foreign_etag_ends_with_an_error_if_one_byte_differs() {
    let body = pattern(1, LARGE);
    let mut other = body.to_vec();
    other[CUT - 1] ^= 1;
    let scene = foreign(&body, &other.clone().into()).await;
    let error = refused(scene.read(KEY).await, ErrorKind::Integrity);
    assert!(error.is_retryable(), "{error}");
    assert_eq!(scene.mirror.fired(), 1);
    assert_same(&scene.read(KEY).await.unwrap(), &other);
}

#[tokio::test]
async fn a_body_that_continues_after_the_same_beginning_is_the_version_of_origin() {
    let body = pattern(1, LARGE);
    let mut other = body.to_vec();
    other[CUT] ^= 1;
    let scene = foreign(&body, &other.clone().into()).await;
    assert_same(&scene.read(KEY).await.unwrap(), &other);
    assert_eq!(scene.mirror.fired(), 1);
}

/// The caller has the metadata of the mirror, so the bytes must not be those of another version,
/// even if none was returned before.
#[tokio::test]
async fn a_body_does_not_continue_in_an_object_of_another_time_or_encoding() {
    for (header, value) in
        [("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("content-encoding", "br")]
    {
        let body = pattern(1, LARGE);
        let response = foreign_object("\"v1\"", body.clone()).header(header, value);
        let scene = Scene::new(move |_| response.clone().cut_after(0));
        scene.object(KEY, pattern(2, LARGE)).await;
        let object = scene.storage.open(KEY).await.unwrap();
        let error = refused(object.bytes().await, ErrorKind::Integrity);
        assert!(error.is_retryable(), "{header}: {error}");
        assert_eq!(scene.mirror.fired(), 1, "{header}");
        assert_same(&scene.read(KEY).await.unwrap(), &pattern(2, LARGE));
    }
}

#[tokio::test]
async fn a_body_does_not_continue_in_an_object_of_another_length() {
    let body = pattern(1, LARGE);
    let scene = foreign(&body, &body.slice(..LARGE - 1)).await;
    refused(scene.read(KEY).await, ErrorKind::Integrity);
    assert_eq!(scene.mirror.fired(), 1);
}

#[tokio::test]
async fn a_version_that_contradicts_the_memo_is_purged_and_not_returned() {
    let scene = Scene::new(|_| Response::disconnect());
    let old = cached(&scene.object(KEY, "the old bytes").await, "the old bytes");
    scene.object(KEY, "the new bytes").await;
    scene.storage.stat(KEY).await.unwrap();
    scene.mirror.set_script(purging(move |_| old.clone()));
    assert_eq!(scene.read(KEY).await.unwrap(), "the new bytes");
    assert_eq!(scene.mirror.count("GET "), 1);
    assert_eq!(scene.cache.status().mirrors[0].stale, 1);
    scene.mirror.until_requested("POST /purge/", 1).await;
}

#[tokio::test]
async fn a_newer_version_of_the_mirror_is_compared_with_origin_once() {
    let scene = Scene::new(|_| Response::disconnect());
    scene.object(KEY, "the old bytes").await;
    scene.storage.stat(KEY).await.unwrap();
    let new = cached(&scene.object(KEY, "the new bytes").await, "the new bytes");
    scene.mirror.set_script(purging(move |_| new.clone()));
    for _ in 0..4 {
        assert_eq!(scene.read(KEY).await.unwrap(), "the new bytes");
    }
    assert_eq!(
        (scene.mirror.count("GET "), scene.mirror.count("POST "), scene.opened_at_origin()),
        (4, 0, 1)
    );
}

/// Builds a scene in which origin stores the object's checksum and the mirror sends other bytes.
async fn corrupted(len: usize) -> (Scene, Bytes) {
    let body = pattern(1, len);
    let scene = Scene::new(|_| Response::disconnect());
    let sum = Checksum::of(ChecksumAlgorithm::Sha256, &body);
    let meta = scene
        .origin
        .save(KEY, body.clone())
        .content_type("a/b")
        .expect_checksum(sum)
        .await
        .unwrap();
    scene.storage.stat(KEY).await.unwrap();
    let mut wrong = body.to_vec();
    wrong[len / 2] ^= 1;
    let response = cached(&meta, wrong);
    scene.mirror.set_script(purging(move |request: &Request| response.clone().in_range(request)));
    (scene, body)
}

#[tokio::test]
async fn a_body_with_a_wrong_checksum_ends_with_an_error_and_is_purged() {
    let (scene, body) = corrupted(LARGE).await;
    let error = refused(scene.read(KEY).await, ErrorKind::Integrity);
    assert!(error.is_retryable() && error.message().contains("sha256"), "{error}");
    assert_same(&scene.read(KEY).await.unwrap(), &body);
    assert_eq!((scene.mirror.count("GET "), scene.state()), (1, "suspect"));
    scene.mirror.until_requested("POST /purge/", 1).await;
}

#[tokio::test]
async fn a_small_body_with_a_wrong_checksum_is_replaced_by_origin() {
    let (scene, body) = corrupted(1000).await;
    assert_same(&scene.read(KEY).await.unwrap(), &body);
    assert_eq!(
        (scene.mirror.count("GET "), scene.state(), scene.opened_at_origin()),
        (1, "suspect", 1)
    );
}

#[tokio::test]
async fn a_newer_version_of_a_foreign_mirror_is_not_purged() {
    let scene = Scene::new(|_| Response::disconnect());
    scene.object(KEY, "old").await;
    scene.storage.stat(KEY).await.unwrap();
    scene.object(KEY, "the new bytes").await;
    scene.mirror.set_script(purging(|_| foreign_object("\"of-its-own\"", "the new bytes")));
    for _ in 0..3 {
        assert_eq!(scene.read(KEY).await.unwrap(), "the new bytes");
    }
    assert_eq!(
        (scene.mirror.count("GET "), scene.mirror.count("POST "), scene.opened_at_origin()),
        (3, 0, 1)
    );
}

#[tokio::test]
async fn a_body_whose_reader_stops_at_the_last_byte_is_a_success() {
    let body = pattern(1, LARGE);
    let scene = Scene::new(|_| Response::new(500));
    scene.object("other", "x").await;
    scene.read("other").await.unwrap();
    assert_eq!(scene.state(), "suspect");
    let response = cached(&scene.object(KEY, body.clone()).await, body);
    scene.mirror.set_script(move |_| response.clone());
    let mut chunks = scene.storage.open(KEY).await.unwrap().into_stream();
    let mut read = 0;
    while read < LARGE {
        read += chunks.try_next().await.unwrap().unwrap().len();
    }
    drop(chunks);
    assert_eq!(scene.state(), "healthy");
}

#[tokio::test]
async fn a_wrong_checksum_is_reported_before_the_last_bytes() {
    let (scene, _) = corrupted(LARGE).await;
    let mut chunks = scene.storage.open(KEY).await.unwrap().into_stream();
    let mut read = 0;
    let end = loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    refused(end, ErrorKind::Integrity);
    assert!(
        read < LARGE,
        "a reader that stops at the stated length got wrong bytes without an error"
    );
}

#[tokio::test]
async fn a_dropped_body_is_neither_a_success_nor_a_failure() {
    let body = pattern(1, LARGE);
    let scene = failing(BodyFault::Stall, &body).await;
    let mut chunks = scene.storage.open(KEY).await.unwrap().into_stream();
    chunks.try_next().await.unwrap().unwrap();
    drop(chunks);
    assert_eq!((scene.mirror.fired(), scene.state()), (1, "healthy"));
}

#[tokio::test]
async fn an_object_read_from_the_mirror_is_a_hit_without_a_request_to_origin() {
    let scene = Scene::new(|_| Response::disconnect());
    for (key, body) in
        [("large", pattern(1, LARGE)), ("small", pattern(2, 10)), ("empty", Bytes::new())]
    {
        let response = cached(&scene.object(key, body.clone()).await, body.clone());
        scene.mirror.set_script(move |_| response.clone());
        assert_same(&scene.read(key).await.unwrap(), &body);
    }
    let status = scene.cache.status();
    assert_eq!((status.mirrors[0].hits, status.mirrors[0].bytes), (3, LARGE as u64 + 10));
    assert_eq!((scene.opened_at_origin(), scene.state()), (0, "healthy"));
}
