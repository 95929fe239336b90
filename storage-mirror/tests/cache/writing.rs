//! Writes: no later read returns the version that they replaced.

use std::future::Future;
use std::pin::pin;

use storage_core::{ErrorKind, Memory, MultipartUpload, Operation, Storage};
use storage_mirror::cache::Cache;
use storage_testkit::wait;

use super::common::{Fixture, MIB, entry_files, open_directory, pattern, read, until_unlocked};
use super::gated::Gate;

/// Polls a future until an event happens. Panics if the future ends before.
async fn until(mut future: std::pin::Pin<&mut impl Future>, event: impl Future<Output = ()>) {
    let mut event = pin!(event);
    tokio::select! {
        _ = &mut event => {}
        _ = future.as_mut() => panic!("the future ended before the event"),
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
async fn each_kind_of_write_removes_the_stored_version() {
    let fixture = Fixture::new();
    for round in 0..3 {
        let body = format!("round {round}");
        fixture.storage.save("a", body.clone()).await.unwrap();
        assert_eq!(read(&fixture.storage, "a").await, body.as_bytes());
        fixture.keep("a").await;
    }
    fixture.storage.save("b", "b").await.unwrap();
    fixture.keep("b").await;
    fixture.storage.copy("a", "b").await.unwrap();
    assert_eq!(read(&fixture.storage, "b").await, b"round 2");
    fixture.keep("b").await;
    fixture.storage.copy("b", "c").await.unwrap();
    fixture.keep("c").await;
    fixture.storage.delete("c").await.unwrap();
    assert_eq!(fixture.storage.open("c").await.unwrap_err().kind(), ErrorKind::NotFound);
    delete_both(&fixture.storage).await;
    assert_eq!(fixture.storage.open("a").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(entry_files(&fixture.path()).is_empty());
}

/// Begins an upload of one part, which replaces `a`.
async fn uploaded(storage: &Storage, body: &'static str) -> MultipartUpload {
    let upload = storage.multipart("a").await.unwrap();
    upload.put_part(1, body).await.unwrap();
    upload
}

#[tokio::test]
async fn a_completed_upload_removes_the_stored_version_and_its_parts_do_not() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.keep("a").await;
    let upload = uploaded(&fixture.storage, "new").await;
    let hits = fixture.cache.status().hits;
    assert_eq!(read(&fixture.storage, "a").await, b"old");
    assert_eq!(fixture.cache.status().hits, hits + 1);
    upload.complete().await.unwrap();
    assert_eq!(read(&fixture.storage, "a").await, b"new");
}

#[tokio::test]
async fn the_key_of_a_dropped_completion_bypasses_the_cache() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.keep("a").await;
    let upload = uploaded(&fixture.storage, "new").await;
    let held = fixture.faults.on(Operation::CompleteMultipart).hold();
    {
        let mut completion = pin!(upload.complete());
        until(completion.as_mut(), held.reached()).await;
    }
    assert_eq!(read(&fixture.storage, "a").await, b"old");
    // The completion reaches origin after it was dropped.
    fixture.origin.save("a", "happened").await.unwrap();
    for _ in 0..3 {
        assert_eq!(read(&fixture.storage, "a").await, b"happened");
    }
}

#[tokio::test]
async fn a_completion_whose_response_is_lost_removes_the_stored_version() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.keep("a").await;
    let upload = uploaded(&fixture.storage, "new").await;
    let complete = fixture.faults.on(Operation::CompleteMultipart);
    let lost = complete.call(1).lose_response(ErrorKind::Timeout);
    assert_eq!(upload.complete().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(lost.fired(), 1);
    assert_eq!(read(&fixture.storage, "a").await, b"new");
    assert_eq!(upload.complete().await.unwrap().size, 3);
}

#[tokio::test]
async fn a_fetch_that_began_before_a_write_is_not_stored() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let origin = Memory::storage();
    let gated = origin.clone().layer(|inner| gate.layer(inner));
    let path = directory.path().join("cache");
    let cache = Cache::builder(gated, &path, 64 * MIB).build().unwrap();
    let storage = Storage::new(cache.clone());
    open_directory(&path, &cache, &storage).await;
    let old = pattern(1, 500_000);
    origin.save("a", old.clone()).await.unwrap();
    // The fetch of the old version runs while the write begins and ends.
    let reader = storage.open("a").await.unwrap();
    storage.save("a", "new").await.unwrap();
    let after = tokio::spawn({
        let storage = storage.clone();
        async move { read(&storage, "a").await }
    });
    gate.open();
    assert!(reader.bytes().await.unwrap() == old, "an open from before the write reads on");
    assert_eq!(after.await.unwrap(), b"new");
    let is_hit = async || {
        assert_eq!(read(&storage, "a").await, b"new");
        cache.status().hits > 1
    };
    assert!(wait::until(is_hit).await, "{:?}", cache.status());
    assert_eq!(cache.status().objects, 1);
}

#[tokio::test]
async fn a_fetch_that_begins_during_a_write_is_not_stored() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.keep("a").await;
    let held = fixture.faults.on(Operation::Save).hold();
    let mut save = pin!(fixture.storage.save("a", "new").into_future());
    until(save.as_mut(), held.reached()).await;
    // Origin still has the old version, which is read and not stored.
    assert_eq!(read(&fixture.storage, "a").await, b"old");
    assert!(entry_files(&fixture.path()).is_empty());
    held.release();
    save.await.unwrap();
    assert_eq!(read(&fixture.storage, "a").await, b"new");
}

#[tokio::test]
async fn the_key_of_a_dropped_write_bypasses_the_cache() {
    for verb in ["save", "delete", "copy", "delete_many"] {
        let fixture = Fixture::new();
        fixture.storage.save("a", "old").await.unwrap();
        fixture.storage.save("b", "b").await.unwrap();
        fixture.keep("a").await;
        let operation = match verb {
            "save" => Operation::Save,
            "copy" => Operation::Copy,
            _ => Operation::Delete,
        };
        let held = fixture.faults.on(operation).hold();
        {
            let storage = fixture.storage.clone();
            let mut write = pin!(async move {
                match verb {
                    "save" => drop(storage.save("a", "new").await),
                    "copy" => drop(storage.copy("b", "a").await),
                    "delete" => drop(storage.delete("a").await),
                    _ => delete_both(&storage).await,
                }
            });
            until(write.as_mut(), held.reached()).await;
            // The end of this block drops the write.
        }
        assert_eq!(read(&fixture.storage, "a").await, b"old", "{verb}");
        // The write reaches origin after it was dropped.
        fixture.origin.save("a", "happened").await.unwrap();
        let hits = fixture.cache.status().hits;
        for _ in 0..3 {
            assert_eq!(read(&fixture.storage, "a").await, b"happened", "{verb}");
        }
        assert_eq!(fixture.cache.status().hits, hits, "{verb}");
        assert!(entry_files(&fixture.path()).len() <= 1, "{verb}");
    }
}

#[tokio::test]
async fn a_failed_write_removes_the_stored_version() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.keep("a").await;
    let lost = fixture.faults.on(Operation::Save).call(1).lose_response(ErrorKind::Timeout);
    assert_eq!(fixture.storage.save("a", "new").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(lost.fired(), 1);
    assert_eq!(read(&fixture.storage, "a").await, b"new");
}

#[tokio::test]
async fn a_dropped_write_before_the_directory_is_open_may_still_happen() {
    let fixture = Fixture::new();
    fixture.origin.save("a", "old").await.unwrap();
    let held = fixture.faults.on(Operation::Save).hold();
    {
        let mut save = pin!(fixture.storage.save("a", "new").into_future());
        until(save.as_mut(), held.reached()).await;
    }
    assert!(!fixture.path().exists());
    assert_eq!(read(&fixture.storage, "a").await, b"old");
    fixture.origin.save("a", "happened").await.unwrap();
    for _ in 0..3 {
        assert_eq!(read(&fixture.storage, "a").await, b"happened");
    }
}

#[tokio::test]
async fn a_failed_write_before_the_directory_is_open_may_still_happen() {
    let fixture = Fixture::new();
    fixture.origin.save("a", "old").await.unwrap();
    let _ = fixture.faults.on(Operation::Save).call(1).fail(ErrorKind::Timeout);
    fixture.storage.save("a", "new").await.unwrap_err();
    assert_eq!(read(&fixture.storage, "a").await, b"old");
    fixture.origin.save("a", "happened").await.unwrap();
    assert_eq!(read(&fixture.storage, "a").await, b"happened");
}

#[tokio::test]
async fn a_save_that_origin_refuses_does_not_keep_its_key_out_of_the_cache() {
    let fixture = Fixture::new();
    fixture.origin.save("a", "there").await.unwrap();
    fixture.keep("a").await;
    let error = fixture.storage.save("a", "mine").create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    fixture.keep("a").await;
}

#[tokio::test(start_paused = true)]
async fn after_too_many_writes_before_the_directory_is_open_all_keys_bypass_it_for_a_minute() {
    let fixture = Fixture::new();
    fixture.origin.save("a", "old").await.unwrap();
    let keys: Vec<_> =
        (0..10_001).map(|n| storage_core::Key::new(format!("k/{n}")).unwrap()).collect();
    fixture.storage.driver().delete_many(&keys).await;
    assert_eq!(read(&fixture.storage, "a").await, b"old");
    fixture.origin.save("a", "new").await.unwrap();
    assert_eq!(read(&fixture.storage, "a").await, b"new");
    assert!(fixture.cache.status().is_open);
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    fixture.keep("a").await;
}

#[tokio::test]
async fn a_process_that_only_writes_removes_what_an_earlier_one_stored() {
    let mut fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.storage.save("b", "stays").await.unwrap();
    fixture.keep("a").await;
    fixture.keep("b").await;
    (fixture.cache, fixture.storage) = fixture.another();
    until_unlocked(&fixture.path()).await;
    fixture.storage.save("a", "new").await.unwrap();
    // The save waits two seconds for the directory, and a slow disk may need longer.
    let is_removed = async || entry_files(&fixture.path()).len() == 1;
    assert!(wait::until(is_removed).await, "{:?}", entry_files(&fixture.path()));
    (fixture.cache, fixture.storage) = fixture.another();
    assert_eq!(read(&fixture.storage, "a").await, b"new");
}

#[tokio::test]
async fn a_write_before_the_first_open_removes_what_an_earlier_run_stored() {
    let mut fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.storage.save("b", "stays").await.unwrap();
    fixture.keep("a").await;
    fixture.keep("b").await;
    (fixture.cache, fixture.storage) = fixture.another();
    until_unlocked(&fixture.path()).await;
    fixture.storage.save("a", "new").await.unwrap();
    let is_open = async || fixture.cache.status().is_open;
    assert!(wait::until(is_open).await, "a write opens a directory that exists");
    assert_eq!(read(&fixture.storage, "a").await, b"new");
    let calls = fixture.origin_opens();
    assert_eq!(read(&fixture.storage, "b").await, b"stays");
    assert_eq!(fixture.origin_opens(), calls, "an object that was not written stays stored");
}

#[tokio::test]
async fn a_save_with_a_unique_name_removes_the_stored_version_of_its_key() {
    let fixture = Fixture::new();
    fixture.storage.save("a.txt", "first").await.unwrap();
    let unique = || async {
        fixture.storage.save("a.txt", "second").unique_name().await.unwrap().key.as_str().to_owned()
    };
    let key = unique().await;
    fixture.keep(&key).await;
    fixture.origin.delete(&key).await.unwrap();
    let again = unique().await;
    fixture.origin.save(again.as_str(), "third").await.unwrap();
    assert_eq!(read(&fixture.storage, &again).await, b"third");
}

#[tokio::test]
async fn a_key_of_a_failed_write_bypasses_the_cache_whatever_else_fails() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.keep("a").await;
    let failed = fixture.faults.on(Operation::Save).fail(ErrorKind::Timeout);
    fixture.storage.save("a", "new").await.unwrap_err();
    assert_eq!(failed.fired(), 1);
    let keys: Vec<_> =
        (0..100_001).map(|n| storage_core::Key::new(format!("k/{n}")).unwrap()).collect();
    let _ = fixture.faults.on(Operation::Delete).call(1).fail(ErrorKind::Timeout);
    let deleted = fixture.storage.driver().delete_many(&keys).await;
    assert!(deleted.iter().any(Result::is_err));
    assert_eq!(read(&fixture.storage, "a").await, b"old");
    // Origin carries the failed write out.
    fixture.origin.save("a", "happened").await.unwrap();
    for _ in 0..3 {
        assert_eq!(read(&fixture.storage, "a").await, b"happened");
        // A fetch that should not have begun would end.
        while fixture.cache.status().fetching > 0 {
            tokio::task::yield_now().await;
        }
    }
}
