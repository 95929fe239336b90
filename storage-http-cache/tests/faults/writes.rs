//! Writes: to origin, then a purge. Until the purge is confirmed, the key bypasses the mirror.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream;
use storage_core::{ErrorKind, Operation, Payload};
use storage_http_cache::{HttpCacheBuilder, OnSave};
use storage_testkit::http::{Gate, Peer, Request, Response};

use super::scene::{GENEROUS, KEY, Scene, TOKEN, cached, foreign_object, later, purging, refused};

/// The response of a mirror that missed a purge.
fn stale() -> Response {
    foreign_object("\"stale\"", "stale")
}

/// Reads an object of which the mirror has stale bytes.
async fn reads(scene: &Scene, body: &str) {
    for _ in 0..3 {
        assert_eq!(scene.read(KEY).await.unwrap(), body.as_bytes());
    }
}

/// Waits until all purges are confirmed.
async fn confirmed(scene: &Scene) {
    let confirmed = async {
        while scene.cache.status().mirrors[0].unconfirmed_purges > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(GENEROUS, confirmed).await.unwrap();
}

#[tokio::test]
async fn each_write_purges_its_key_with_the_token_before_it_returns() {
    let scene = Scene::new(purging(|_| Response::disconnect()));
    let storage = &scene.storage;
    storage.save("a b/c.txt", "1").await.unwrap();
    storage.copy("a b/c.txt", "d.txt").await.unwrap();
    storage.delete("d.txt").await.unwrap();
    storage.delete_many(stream::iter(["a b/c.txt", "never-there"])).finish().await.unwrap();
    let requests = scene.mirror.requests();
    let mut targets: Vec<_> =
        requests.iter().map(|request| format!("{} {}", request.method, request.target)).collect();
    targets[3..].sort_unstable();
    let expected = ["a%20b/c.txt", "d.txt", "d.txt", "a%20b/c.txt", "never-there"];
    assert_eq!(targets, expected.map(|key| format!("POST /purge/{key}")));
    let authorization = format!("Bearer {TOKEN}");
    assert!(requests.iter().all(|request| request.header("authorization") == Some(&authorization)));
    assert_eq!(scene.cache.status().mirrors[0].unconfirmed_purges, 0);
}

#[tokio::test]
async fn a_save_under_a_unique_name_purges_the_chosen_key() {
    let scene = Scene::new(purging(|_| Response::disconnect()));
    scene.storage.save("a.txt", "1").await.unwrap();
    let other = scene.storage.save("a.txt", "2").unique_name().await.unwrap().key;
    assert_eq!(scene.mirror.requests()[1].target, format!("/purge/{other}"));
}

#[tokio::test]
async fn a_completed_upload_purges_its_key_and_its_parts_purge_nothing() {
    let scene = Scene::new(purging(|_| stale()));
    scene.object(KEY, "old").await;
    let upload = scene.storage.multipart(KEY).await.unwrap();
    upload.put_part(1, "new").await.unwrap();
    assert_eq!(scene.mirror.requests().len(), 0);
    upload.complete().await.unwrap();
    assert_eq!(scene.mirror.count("POST /purge/"), 1);
    let refused_upload = scene.storage.multipart(KEY).create_new().await.unwrap();
    refused_upload.put_part(1, "late").await.unwrap();
    refused(refused_upload.complete().await, ErrorKind::AlreadyExists);
    refused_upload.abort().await.unwrap();
    assert_eq!(scene.mirror.count("POST /purge/"), 1);
}

#[tokio::test]
async fn a_completion_of_unknown_outcome_is_purged_and_its_key_is_read_from_origin() {
    let scene = Scene::new(purging(|_| stale()));
    scene.object(KEY, "old").await;
    let upload = scene.storage.multipart(KEY).await.unwrap();
    upload.put_part(1, "new").await.unwrap();
    let complete = scene.faults.on(Operation::CompleteMultipart);
    let lost = complete.call(1).lose_response(ErrorKind::Timeout);
    refused(upload.complete().await, ErrorKind::Timeout);
    assert_eq!((lost.fired(), scene.mirror.count("POST /purge/")), (1, 1));
    assert_eq!(scene.read(KEY).await.unwrap(), "new");
    assert_eq!(scene.mirror.count("GET "), 0);
    upload.complete().await.unwrap();
    assert_eq!(scene.mirror.count("POST /purge/"), 2);
}

#[tokio::test]
async fn a_dropped_completion_is_purged_in_the_background() {
    let scene = Scene::new(purging(|_| stale()));
    scene.object(KEY, "old").await;
    let upload = scene.storage.multipart(KEY).await.unwrap();
    upload.put_part(1, "new").await.unwrap();
    let held = scene.faults.on(Operation::CompleteMultipart).hold();
    let completion = tokio::spawn(async move { upload.complete().await });
    held.reached().await;
    completion.abort();
    assert!(completion.await.unwrap_err().is_cancelled());
    scene.mirror.until_requested("POST /purge/", 1).await;
    confirmed(&scene).await;
    reads(&scene, "old").await;
}

#[tokio::test]
async fn a_refused_write_purges_nothing() {
    let scene = Scene::new(purging(|_| Response::new(404)));
    scene.object(KEY, "old").await;
    refused(scene.storage.save(KEY, "new").create_new().await, ErrorKind::AlreadyExists);
    refused(scene.storage.copy("missing", KEY).await, ErrorKind::NotFound);
    assert_eq!(scene.read(KEY).await.unwrap(), "old");
    assert_eq!((scene.mirror.count("POST "), scene.mirror.count("GET ")), (0, 1));
}

#[tokio::test]
async fn a_saved_object_is_read_from_origin_until_its_purge_is_confirmed() {
    for code in [500, 401, 404] {
        let scene =
            Scene::new(
                move |request| {
                    if request.method == "POST" { Response::new(code) } else { stale() }
                },
            );
        scene.storage.save(KEY, "fresh").await.unwrap();
        reads(&scene, "fresh").await;
        assert_eq!(scene.mirror.count("GET "), 0, "{code}: the mirror got a request");
        assert!(scene.mirror.count("POST /purge/") >= 1, "{code}");
        assert_eq!(scene.cache.status().mirrors[0].unconfirmed_purges, 1, "{code}");

        // Other keys are read from the mirror.
        let response = cached(&scene.object("other", "x").await, "x");
        scene.mirror.set_script(purging(move |_| response.clone()));
        assert_eq!(scene.read("other").await.unwrap(), "x");
        assert_eq!(scene.mirror.count("GET "), 1, "{code}");
        confirmed(&scene).await;
        let response = cached(&scene.origin.stat(KEY).await.unwrap(), "fresh");
        scene.mirror.set_script(purging(move |_| response.clone()));
        reads(&scene, "fresh").await;
        assert_eq!(scene.mirror.count("GET "), 4, "{code}: the mirror is in use again");
    }
}

#[tokio::test]
async fn a_key_is_bypassed_while_it_is_written() {
    let scene = Scene::new(purging(|_| stale()));
    scene.object(KEY, "old").await;
    let held = scene.faults.on(Operation::Save).hold();
    let storage = scene.storage.clone();
    let save = tokio::spawn(async move { storage.save(KEY, "new").await });
    held.reached().await;
    reads(&scene, "old").await;
    assert_eq!(scene.mirror.requests().len(), 0);
    held.release();
    save.await.unwrap().unwrap();
    assert_eq!(scene.mirror.count("POST /purge/"), 1);
}

#[tokio::test]
async fn a_dropped_save_is_purged_in_the_background() {
    let scene = Scene::new(purging(|_| stale()));
    scene.object(KEY, "old").await;
    let held = scene.faults.on(Operation::Save).hold();
    let storage = scene.storage.clone();
    let save = tokio::spawn(async move { storage.save(KEY, "new").await });
    held.reached().await;
    save.abort();
    assert!(save.await.unwrap_err().is_cancelled());
    scene.mirror.until_requested("POST /purge/", 1).await;
    confirmed(&scene).await;
    reads(&scene, "old").await;
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_purged_and_its_key_is_read_from_origin() {
    let scene = Scene::new(purging(|_| stale()));
    scene.object(KEY, "old").await;
    let lost = scene.faults.on(Operation::Save).lose_response(ErrorKind::Timeout);
    refused(scene.storage.save(KEY, "new").await, ErrorKind::Timeout);
    assert_eq!((lost.fired(), scene.mirror.count("POST /purge/")), (1, 1));
    assert_eq!(scene.read(KEY).await.unwrap(), "new");
    assert_eq!(scene.mirror.count("GET "), 0);

    let lost = scene.faults.on(Operation::Delete).lose_response(ErrorKind::Timeout);
    refused(scene.storage.delete(KEY).await, ErrorKind::Timeout);
    assert_eq!((lost.fired(), scene.mirror.count("POST /purge/")), (1, 2));
    refused(scene.read(KEY).await, ErrorKind::NotFound);
}

/// A driver can store an object and then find that it is not as requested.
#[tokio::test]
async fn a_write_that_happened_although_it_failed_is_purged() {
    let kinds = [
        ErrorKind::Unsupported,
        ErrorKind::PermissionDenied,
        ErrorKind::Unauthenticated,
        ErrorKind::Conflict,
        ErrorKind::TooLarge,
    ];
    for kind in kinds {
        let scene = Scene::new(purging(|_| stale()));
        scene.object(KEY, "old").await;
        let lost = scene.faults.on(Operation::Save).lose_response(kind);
        refused(scene.storage.save(KEY, "new").await, kind);
        assert_eq!((lost.fired(), scene.mirror.count("POST /purge/")), (1, 1), "{kind:?}");
    }
}

#[tokio::test]
async fn only_the_first_write_waits_for_a_mirror_that_does_not_respond_to_purges() {
    let scene = Scene::new(|_| Response::never());
    let first = async { scene.storage.save("first", "x").await };
    scene.timed_out("POST /purge/", 1, first).await.unwrap();
    let save = async { scene.storage.save(KEY, "x").await };
    let saved = tokio::time::timeout(GENEROUS / 2, save).await;
    saved.expect("the writer waits for the mirror").unwrap();
    assert_eq!(scene.cache.status().mirrors[0].unconfirmed_purges, 2);
}

#[tokio::test]
async fn a_write_waits_for_its_purge_although_the_purge_of_another_key_is_refused() {
    let scene = Scene::new(|request| match &*request.target {
        "/purge/refused" => Response::new(500),
        _ => Response::new(200),
    });
    scene.storage.save("refused", "x").await.unwrap();
    scene.storage.save(KEY, "x").await.unwrap();
    assert_eq!(scene.cache.status().mirrors[0].unconfirmed_purges, 1);
}

#[tokio::test]
async fn a_deleted_object_is_not_found_although_the_mirror_has_it() {
    let scene = Scene::new(
        |request| if request.method == "POST" { Response::disconnect() } else { stale() },
    );
    scene.object(KEY, "old").await;
    scene.storage.delete(KEY).await.unwrap();
    refused(scene.read(KEY).await, ErrorKind::NotFound);
    assert!(!scene.storage.exists(KEY).await.unwrap());
    assert_eq!((scene.mirror.fired() > 0, scene.mirror.count("GET ")), (true, 0));
}

#[tokio::test]
async fn a_purge_covers_only_the_write_before_it() {
    // The first purge is confirmed after the second write has ended; the second purge fails.
    let (gate, first) = (Gate::new(), Arc::new(AtomicBool::new(true)));
    let held = gate.clone();
    let scene = Scene::new(move |request: &Request| match request.method.as_str() {
        "POST" if first.swap(false, Ordering::SeqCst) => Response::new(204).delay(&held).fault(),
        "POST" => Response::new(500),
        _ => stale(),
    });
    let storage = scene.storage.clone();
    let save = tokio::spawn(async move { storage.save(KEY, "one").await });
    scene.mirror.until_requested("POST /purge/", 1).await;
    scene.storage.save(KEY, "two").await.unwrap();
    gate.open();
    save.await.unwrap().unwrap();
    reads(&scene, "two").await;
    assert_eq!(scene.mirror.count("GET "), 0);
    assert_eq!(scene.cache.status().mirrors[0].unconfirmed_purges, 1);
    assert!(scene.mirror.fired() == 1 && scene.mirror.sound() >= 1);
}

#[tokio::test]
async fn a_write_purges_every_mirror() {
    let other = Peer::start(purging(|_| Response::disconnect()));
    let mirror = Peer::start(purging(|_| Response::disconnect()));
    let urls = vec![mirror.url(), other.url()];
    let scene = Scene::at(urls, mirror, storage_core::Memory::storage(), |builder| builder);
    scene.storage.save(KEY, "x").await.unwrap();
    assert_eq!((scene.mirror.count("POST /purge/"), other.count("POST /purge/")), (1, 1));
}

#[tokio::test]
async fn a_mirror_out_of_use_does_not_delay_writes() {
    let day = Duration::from_secs(24 * 60 * 60);
    let set_up = |builder: HttpCacheBuilder| builder.breaker_failures(1).header_timeout(day);
    let scene = Scene::with(set_up, |_| Response::new(500));
    scene.object("other", "x").await;
    scene.read("other").await.unwrap();
    assert_eq!(scene.state(), "open");
    scene.mirror.set_script(|_| Response::never());
    let save = async { scene.storage.save(KEY, "x").await };
    tokio::time::timeout(GENEROUS, save).await.expect("the writer waits for the mirror").unwrap();
    assert_eq!(scene.cache.status().mirrors[0].unconfirmed_purges, 1);
    scene.mirror.until_requested("POST /purge/", 1).await;
}

#[tokio::test]
async fn a_save_prefetches_after_the_purge_and_a_delete_does_not() {
    let scene = Scene::with(
        |builder| builder.on_save(OnSave::Prefetch),
        purging(|_| Response::disconnect()),
    );
    scene.storage.save("a.txt", "1").await.unwrap();
    scene.storage.delete("a.txt").await.unwrap();
    let targets: Vec<_> =
        scene.mirror.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/purge/a.txt", "/prefetch/a.txt", "/purge/a.txt"]);
}

#[tokio::test]
async fn purges_go_to_the_admin_url() {
    let admin = Peer::start(purging(|_| Response::disconnect()));
    let url = admin.url();
    let scene = Scene::with(|builder| builder.admin(url), |_| Response::disconnect());
    scene.storage.save("a.txt", "1").await.unwrap();
    assert_eq!((admin.count("POST /purge/a.txt"), scene.mirror.requests().len()), (1, 0));
}

#[tokio::test]
async fn without_a_token_a_key_bypasses_the_mirror_for_an_hour() {
    let mirror = Peer::start(|_| Response::disconnect());
    let origin = storage_core::Memory::storage();
    let cache =
        storage_http_cache::HttpCache::builder(vec![mirror.url()], origin.clone()).build().unwrap();
    let storage = storage_core::Storage::new(cache);
    let meta = storage.save(KEY, "fresh").await.unwrap();
    let response = cached(&meta, "fresh");
    mirror.set_script(move |_| response.clone());
    // The time that the test takes counts as well.
    later(Duration::from_secs(3000)).await;
    assert_eq!(storage.open(KEY).await.unwrap().text().await.unwrap(), "fresh");
    assert_eq!(mirror.requests().len(), 0);
    later(Duration::from_secs(600)).await;
    assert_eq!(storage.open(KEY).await.unwrap().text().await.unwrap(), "fresh");
    assert_eq!((mirror.count("GET "), mirror.count("POST ")), (1, 0));
}

#[tokio::test]
async fn a_failed_stream_leaves_the_old_object() {
    let scene = Scene::new(purging(|_| stale()));
    scene.object(KEY, "old").await;
    let chunks = stream::iter([Ok("half"), Err(std::io::Error::other("on purpose"))]);
    refused(scene.storage.save(KEY, Payload::from_stream(chunks)).await, ErrorKind::Unexpected);
    assert_eq!(scene.read(KEY).await.unwrap(), "old");
}
