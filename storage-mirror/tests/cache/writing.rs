//! Writes: nothing that they replace is read afterwards.

use std::future::Future;
use std::pin::pin;

use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_mirror::cache::Cache;

use super::common::{MIB, Scene, entry_files, pattern, read};
use super::gated::Gate;

/// Polls a future until an event comes first.
async fn until(mut future: std::pin::Pin<&mut impl Future>, event: impl Future<Output = ()>) {
    let mut event = pin!(event);
    tokio::select! {
        _ = &mut event => {}
        _ = future.as_mut() => panic!("it ended before the event"),
    }
}

/// Deletes `a` and `b` in one request.
async fn delete_both(storage: &Storage) {
    let keys = ["a", "b"].map(|key| storage_core::Key::new(key).unwrap());
    for deleted in storage.driver().delete_many(&keys).await {
        deleted.unwrap();
    }
}

#[tokio::test]
async fn each_kind_of_write_removes_what_it_replaces() {
    let scene = Scene::new();
    for round in 0..3 {
        let body = format!("round {round}");
        scene.storage.save("a", body.clone()).await.unwrap();
        assert_eq!(read(&scene.storage, "a").await, body.as_bytes());
        scene.keep("a").await;
    }
    scene.storage.save("b", "b").await.unwrap();
    scene.keep("b").await;
    scene.storage.copy("a", "b").await.unwrap();
    assert_eq!(read(&scene.storage, "b").await, b"round 2");
    scene.keep("b").await;
    scene.storage.copy("b", "c").await.unwrap();
    scene.keep("c").await;
    scene.storage.delete("c").await.unwrap();
    assert_eq!(scene.storage.open("c").await.unwrap_err().kind(), ErrorKind::NotFound);
    delete_both(&scene.storage).await;
    assert_eq!(scene.storage.open("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(entry_files(&scene.path()).is_empty());
}

#[tokio::test]
async fn a_fetch_that_began_before_a_write_is_not_kept() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let origin = Memory::storage();
    let gated = origin.clone().layer(|inner| gate.layer(inner));
    let cache = Cache::builder(gated, directory.path().join("cache"), 64 * MIB).build().unwrap();
    let storage = Storage::new(cache.clone());
    let old = pattern(1, 500_000);
    origin.save("a", old.clone()).await.unwrap();
    // The old version is on its way ...
    let reader = storage.open("a").await.unwrap();
    // ... when the write comes and ends.
    storage.save("a", "new").await.unwrap();
    let after = tokio::spawn({
        let storage = storage.clone();
        async move { read(&storage, "a").await }
    });
    gate.open();
    assert!(reader.bytes().await.unwrap() == old, "an open from before the write goes on");
    assert_eq!(after.await.unwrap(), b"new");
    for _ in 0..200 {
        assert_eq!(read(&storage, "a").await, b"new");
        if cache.status().hits > 1 {
            return assert_eq!(cache.status().objects, 1);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{:?}", cache.status());
}

#[tokio::test]
async fn a_fetch_that_begins_during_a_write_is_not_kept() {
    let scene = Scene::new();
    scene.storage.save("a", "old").await.unwrap();
    scene.keep("a").await;
    let held = scene.faults.on(Operation::Save).hold();
    let mut save = pin!(scene.storage.save("a", "new").into_future());
    until(save.as_mut(), held.reached()).await;
    // Origin has the old version still, and so has the reader. The cache has none.
    assert_eq!(read(&scene.storage, "a").await, b"old");
    assert!(entry_files(&scene.path()).is_empty());
    held.release();
    save.await.unwrap();
    assert_eq!(read(&scene.storage, "a").await, b"new");
}

#[tokio::test]
async fn a_dropped_write_may_still_happen_and_its_key_bypasses_the_cache() {
    for verb in ["save", "delete", "copy", "delete_many"] {
        let scene = Scene::new();
        scene.storage.save("a", "old").await.unwrap();
        scene.storage.save("b", "b").await.unwrap();
        scene.keep("a").await;
        let operation = match verb {
            "save" => Operation::Save,
            "copy" => Operation::Copy,
            _ => Operation::Delete,
        };
        let held = scene.faults.on(operation).hold();
        {
            let storage = scene.storage.clone();
            let mut write = pin!(async move {
                match verb {
                    "save" => drop(storage.save("a", "new").await),
                    "copy" => drop(storage.copy("b", "a").await),
                    "delete" => drop(storage.delete("a").await),
                    _ => delete_both(&storage).await,
                }
            });
            until(write.as_mut(), held.reached()).await;
            // Dropped here.
        }
        assert_eq!(read(&scene.storage, "a").await, b"old", "{verb}");
        // The request was on its way, and arrives later.
        scene.origin.save("a", "happened").await.unwrap();
        let hits = scene.cache.status().hits;
        for _ in 0..3 {
            assert_eq!(read(&scene.storage, "a").await, b"happened", "{verb}");
        }
        assert_eq!(scene.cache.status().hits, hits, "{verb}");
        assert!(entry_files(&scene.path()).len() <= 1, "{verb}");
    }
}

#[tokio::test]
async fn a_write_that_fails_may_have_happened() {
    let scene = Scene::new();
    scene.storage.save("a", "old").await.unwrap();
    scene.keep("a").await;
    let lost = scene.faults.on(Operation::Save).call(1).lose_response(ErrorKind::Timeout);
    assert_eq!(scene.storage.save("a", "new").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(lost.fired(), 1);
    assert_eq!(read(&scene.storage, "a").await, b"new");
}

#[tokio::test]
async fn a_dropped_write_before_the_directory_is_open_may_still_happen() {
    let scene = Scene::new();
    scene.origin.save("a", "old").await.unwrap();
    let held = scene.faults.on(Operation::Save).hold();
    {
        let mut save = pin!(scene.storage.save("a", "new").into_future());
        until(save.as_mut(), held.reached()).await;
    }
    assert!(!scene.path().exists());
    assert_eq!(read(&scene.storage, "a").await, b"old");
    scene.origin.save("a", "happened").await.unwrap();
    for _ in 0..3 {
        assert_eq!(read(&scene.storage, "a").await, b"happened");
    }
}

#[tokio::test]
async fn a_failed_write_before_the_directory_is_open_may_still_happen() {
    let scene = Scene::new();
    scene.origin.save("a", "old").await.unwrap();
    let _ = scene.faults.on(Operation::Save).call(1).fail(ErrorKind::Timeout);
    scene.storage.save("a", "new").await.unwrap_err();
    assert_eq!(read(&scene.storage, "a").await, b"old");
    scene.origin.save("a", "happened").await.unwrap();
    assert_eq!(read(&scene.storage, "a").await, b"happened");
}

#[tokio::test(start_paused = true)]
async fn after_too_many_writes_before_the_directory_is_open_all_keys_bypass_it_for_a_minute() {
    let scene = Scene::new();
    scene.origin.save("a", "old").await.unwrap();
    let keys: Vec<_> =
        (0..10_001).map(|n| storage_core::Key::new(format!("k/{n}")).unwrap()).collect();
    scene.storage.driver().delete_many(&keys).await;
    assert_eq!(read(&scene.storage, "a").await, b"old");
    scene.origin.save("a", "new").await.unwrap();
    assert_eq!(read(&scene.storage, "a").await, b"new");
    assert!(scene.cache.status().is_open);
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    scene.keep("a").await;
}

#[tokio::test]
async fn a_process_that_only_writes_removes_what_an_earlier_one_kept() {
    let mut scene = Scene::new();
    scene.storage.save("a", "old").await.unwrap();
    scene.storage.save("b", "stays").await.unwrap();
    scene.keep("a").await;
    scene.keep("b").await;
    (scene.cache, scene.storage) = scene.another();
    scene.storage.save("a", "new").await.unwrap();
    assert_eq!(entry_files(&scene.path()).len(), 1);
    (scene.cache, scene.storage) = scene.another();
    assert_eq!(read(&scene.storage, "a").await, b"new");
}

#[tokio::test]
async fn a_write_before_the_first_open_removes_what_an_earlier_run_kept() {
    let mut scene = Scene::new();
    scene.storage.save("a", "old").await.unwrap();
    scene.storage.save("b", "stays").await.unwrap();
    scene.keep("a").await;
    scene.keep("b").await;
    let (cache, storage) = scene.another();
    (scene.cache, scene.storage) = (cache, storage);
    scene.storage.save("a", "new").await.unwrap();
    assert!(scene.cache.status().is_open, "a write opens a directory that exists");
    assert_eq!(read(&scene.storage, "a").await, b"new");
    let calls = scene.origin_opens();
    assert_eq!(read(&scene.storage, "b").await, b"stays");
    assert_eq!(scene.origin_opens(), calls, "what was not written is kept");
}

#[tokio::test]
async fn an_object_saved_under_a_unique_name_is_read_whatever_the_cache_had() {
    let scene = Scene::new();
    scene.storage.save("a.txt", "first").await.unwrap();
    let unique = || async {
        scene.storage.save("a.txt", "second").unique_name().await.unwrap().key.as_str().to_owned()
    };
    let key = unique().await;
    scene.keep(&key).await;
    scene.origin.delete(&key).await.unwrap();
    let again = unique().await;
    scene.origin.save(again.as_str(), "third").await.unwrap();
    assert_eq!(read(&scene.storage, &again).await, b"third");
}
