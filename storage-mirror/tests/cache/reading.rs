//! Reads: which come from the cache and which from origin.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use storage_core::{Error, ErrorKind, Memory, Operation, Storage};
use storage_mirror::cache::Cache;

use super::common::{Fixture, MIB, entry_files, open_directory, pattern, read};
use super::gated::Gate;

#[tokio::test]
async fn the_first_open_creates_the_directory_and_no_earlier_call_does() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "one").await.unwrap();
    fixture.storage.stat("a").await.unwrap();
    assert!(fixture.storage.exists("a").await.unwrap());
    assert!(!fixture.path().exists() && !fixture.cache.status().is_open);
    fixture.keep("a").await;
    assert!(fixture.path().exists() && fixture.cache.status().is_open);
}

#[tokio::test]
async fn an_object_comes_from_the_cache_with_all_its_metadata() {
    let fixture = Fixture::new();
    let saved = fixture
        .storage
        .save("a", "one")
        .content_type("text/plain")
        .user_metadata("author", "Ada")
        .cache_control("max-age=600");
    saved.await.unwrap();
    fixture.keep("a").await;
    let calls = fixture.origin_opens();
    let object = fixture.storage.open("a").await.unwrap();
    assert_eq!(fixture.origin_opens(), calls);
    assert_eq!(*object.meta(), fixture.origin.stat("a").await.unwrap());
    assert_eq!(object.text().await.unwrap(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_opens_share_one_fetch() {
    let fixture = Fixture::new();
    fixture.open_directory().await;
    let body = pattern(1, 3_000_000);
    fixture.origin.save("a", body.clone()).await.unwrap();
    let held = fixture.faults.on(Operation::Open).hold();
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let storage = fixture.storage.clone();
            tokio::spawn(async move { read(&storage, "a").await })
        })
        .collect();
    held.reached().await;
    held.release();
    for reader in readers {
        assert!(reader.await.unwrap() == body);
    }
    assert_eq!(fixture.origin_opens(), 1);
    let status = fixture.cache.status();
    assert_eq!((status.hits + status.fetched, status.bypassed), (20, 0), "{status:?}");
}

#[tokio::test]
async fn a_fetch_continues_when_its_first_reader_is_dropped() {
    let fixture = Fixture::new();
    fixture.open_directory().await;
    let body = pattern(2, 1_000_000);
    fixture.origin.save("a", body.clone()).await.unwrap();
    let held = fixture.faults.on(Operation::Open).hold();
    let open = tokio::spawn({
        let storage = fixture.storage.clone();
        async move { storage.open("a").await }
    });
    held.reached().await;
    open.abort();
    assert!(open.await.is_err());
    held.release();
    assert!(read(&fixture.storage, "a").await == body);
    assert_eq!(fixture.origin_opens(), 1);
}

#[tokio::test]
async fn a_range_comes_from_the_cache_if_the_object_is_stored_and_otherwise_from_origin() {
    let fixture = Fixture::new();
    fixture.open_directory().await;
    let body = pattern(3, 700_000);
    fixture.origin.save("a", body.clone()).await.unwrap();
    let range = || async {
        let object = fixture.storage.open("a").range(300_000..500_000).await.unwrap();
        assert_eq!((object.range(), object.meta().size), (300_000..500_000, 700_000));
        object.bytes().await.unwrap()
    };
    assert!(range().await == body[300_000..500_000]);
    assert_eq!((fixture.origin_opens(), fixture.cache.status().bypassed), (1, 1));
    assert_eq!(fixture.cache.status().objects, 0, "a range fills nothing");
    fixture.keep("a").await;
    let calls = fixture.origin_opens();
    assert!(range().await == body[300_000..500_000]);
    assert_eq!(fixture.origin_opens(), calls);
    let beyond = fixture.storage.open("a").range(700_000..).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::RangeNotSatisfiable);
}

#[tokio::test]
async fn a_conditional_open_is_sent_to_origin() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "one").await.unwrap();
    fixture.keep("a").await;
    let etag = fixture.origin.stat("a").await.unwrap().etag.unwrap();
    fixture.origin.save("a", "two").await.unwrap();
    let outdated = fixture.storage.open("a").if_match(etag.clone()).await.unwrap_err();
    assert_eq!(outdated.kind(), ErrorKind::PreconditionFailed);
    let newer = fixture.storage.open("a").if_none_match(etag).await.unwrap();
    assert_eq!(newer.text().await.unwrap(), "two");
}

#[tokio::test]
async fn stat_exists_and_list_are_sent_to_origin() {
    let fixture = Fixture::new();
    fixture.storage.save("a", "one").await.unwrap();
    fixture.keep("a").await;
    fixture.origin.save("b", "more").await.unwrap();
    fixture.origin.save("a", "three").await.unwrap();
    assert_eq!(fixture.storage.stat("a").await.unwrap().size, 5);
    assert!(fixture.storage.exists("b").await.unwrap());
    assert_eq!(fixture.storage.list("").entries().collect().await.unwrap().len(), 2);
    fixture.origin.delete("a").await.unwrap();
    assert!(!fixture.storage.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_missing_object_is_requested_from_origin_each_time() {
    let fixture = Fixture::new();
    for calls in 1..=3 {
        let missing = fixture.storage.open("a").await.unwrap_err();
        assert_eq!((missing.kind(), fixture.origin_opens()), (ErrorKind::NotFound, calls));
    }
    fixture.origin.save("a", "there").await.unwrap();
    assert_eq!(read(&fixture.storage, "a").await, b"there");
}

#[tokio::test]
async fn an_object_larger_than_max_object_size_is_passed_through() {
    let fixture = Fixture::with(|builder| builder.max_object_size(100_000));
    fixture.open_directory().await;
    let body = pattern(4, 100_001);
    fixture.origin.save("large", body.clone()).await.unwrap();
    for _ in 0..3 {
        assert!(read(&fixture.storage, "large").await == body);
    }
    let status = fixture.cache.status();
    assert_eq!((status.objects, status.hits, status.bypassed), (0, 0, 3));
    assert!(entry_files(&fixture.path()).is_empty());
}

#[tokio::test]
async fn an_object_that_origin_forbids_to_store_is_not_stored() {
    let fixture = Fixture::new();
    for (key, cache_control) in [("a", "no-store"), ("b", "private, max-age=60")] {
        fixture.origin.save(key, "secret").cache_control(cache_control).await.unwrap();
        for _ in 0..3 {
            assert_eq!(read(&fixture.storage, key).await, b"secret");
        }
    }
    assert!(entry_files(&fixture.path()).is_empty());
    assert_eq!(fixture.cache.status().hits, 0);
}

#[tokio::test]
async fn objects_survive_a_restart() {
    let mut fixture = Fixture::new();
    fixture.origin.save("a", "one").await.unwrap();
    fixture.keep("a").await;
    let calls = fixture.origin_opens();
    (fixture.cache, fixture.storage) = fixture.another();
    fixture.open_directory().await;
    assert_eq!(read(&fixture.storage, "a").await, b"one");
    assert_eq!((fixture.origin_opens(), fixture.cache.status().hits), (calls, 1));
}

#[tokio::test]
async fn a_cache_of_another_origin_serves_nothing_that_the_directory_holds() {
    let (directory, memory) = (tempfile::tempdir().unwrap(), Memory::storage());
    for name in ["x", "y"] {
        memory.save(format!("{name}/a"), format!("of {name}")).await.unwrap();
    }
    for (round, name) in ["x", "y", "x", "x"].into_iter().enumerate() {
        let origin = memory.prefixed(name).unwrap();
        let path = directory.path().join("cache");
        let cache = Cache::builder(origin, &path, 64 * MIB).build().unwrap();
        let storage = Storage::new(cache.clone());
        open_directory(&path, &cache, &storage).await;
        assert_eq!(read(&storage, "a").await, format!("of {name}").as_bytes());
        assert_eq!(cache.status().hits, u64::from(round == 3), "round {round}");
        while cache.status().fetching > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_open_joins_a_fetch_under_way_unless_its_object_is_no_longer_fresh() {
    let cases = [
        (Duration::from_secs(3600), "public", 500_000),
        (Duration::ZERO, "public", 3),
        (Duration::from_secs(3600), "no-cache", 3),
    ];
    for (ttl, cache_control, size) in cases {
        let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
        let origin = Memory::storage();
        let gated = origin.clone().layer(|inner| gate.layer(inner));
        let path = directory.path().join("cache");
        let cache = Cache::builder(gated, &path, 64 * MIB).ttl(ttl).build().unwrap();
        let storage = Storage::new(cache.clone());
        open_directory(&path, &cache, &storage).await;
        let old = pattern(7, 500_000);
        origin.save("a", old.clone()).cache_control(cache_control).await.unwrap();
        let first = storage.open("a").await.unwrap();
        origin.save("a", "new").await.unwrap();
        let second = storage.open("a").await.unwrap();
        assert_eq!(second.meta().size, size, "{ttl:?} {cache_control}");
        gate.open();
        assert!(first.bytes().await.unwrap() == old);
        assert_eq!(second.bytes().await.unwrap().len() as u64, size);
    }
}

#[tokio::test]
async fn a_revalidation_joins_no_fetch_whose_object_is_no_longer_fresh() {
    let fixture = Fixture::new();
    fixture.origin.save("a", pattern(8, 500_000)).await.unwrap();
    fixture.keep("a").await;
    let Fixture { directory, origin, cache, storage, .. } = fixture;
    drop((cache, storage));
    let gate = Gate::closed();
    let gated = origin.clone().layer(|inner| gate.layer(inner));
    let path = directory.path().join("cache");
    let cache = Cache::builder(gated, &path, 64 * MIB).ttl(Duration::ZERO).build().unwrap();
    let storage = Storage::new(cache.clone());
    open_directory(&path, &cache, &storage).await;
    origin.save("a", pattern(9, 400_000)).await.unwrap();
    let first = storage.open("a").await.unwrap();
    assert_eq!((first.meta().size, cache.status().objects), (400_000, 1));
    origin.save("a", "new").await.unwrap();
    assert_eq!(storage.open("a").await.unwrap().meta().size, 3);
    gate.open();
    assert!(first.bytes().await.unwrap() == pattern(9, 400_000));
}

#[tokio::test]
async fn an_interrupted_body_resumes_at_its_offset() {
    let fixture = Fixture::new();
    fixture.open_directory().await;
    let body = pattern(5, 2_000_000);
    fixture.origin.save("a", body.clone()).await.unwrap();
    let broken =
        fixture.faults.on(Operation::Open).call(1).fail_midway(900_000, ErrorKind::Timeout);
    assert!(read(&fixture.storage, "a").await == body);
    assert_eq!(broken.fired(), 1);
}

#[tokio::test]
async fn a_slow_reader_reads_the_old_version_to_its_end_after_a_write() {
    let fixture = Fixture::new();
    let body = pattern(6, 3_000_000);
    fixture.origin.save("a", body.clone()).await.unwrap();
    let mut slow = fixture.storage.open("a").await.unwrap().into_stream();
    let body = Arc::new(body);
    let mut read_slowly = slow.next().await.unwrap().unwrap().to_vec();
    assert!(read(&fixture.storage, "a").await == *body);
    // The write purges the key while the slow reader still reads.
    fixture.storage.save("a", "new").await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    while let Some(chunk) = slow.next().await {
        read_slowly.extend_from_slice(&chunk.unwrap());
    }
    assert!(read_slowly == *body);
    assert_eq!(read(&fixture.storage, "a").await, b"new");
}

#[tokio::test]
async fn all_readers_that_share_a_failed_fetch_get_its_error_whole() {
    let fixture = Fixture::new();
    fixture.open_directory().await;
    let held = fixture.faults.on(Operation::Open).of("a").hold();
    let failed = fixture.faults.on(Operation::Open).of("a").fail_with(|| {
        let refused = Error::unexpected("inner", std::io::Error::other("refused"));
        let busy = Error::new(ErrorKind::RateLimited, "busy").with_source(refused);
        busy.with_retryable(false).with_retry_after(Duration::from_secs(7))
    });
    let readers: Vec<_> = (0..5)
        .map(|_| {
            let storage = fixture.storage.clone();
            tokio::spawn(async move { storage.open("a").await.unwrap_err() })
        })
        .collect();
    held.reached().await;
    // All readers wait for the fetch.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    held.release();
    for reader in readers {
        let error = reader.await.unwrap();
        assert_eq!((error.kind(), error.message()), (ErrorKind::RateLimited, "busy"));
        assert!(!error.is_retryable(), "although errors of its kind are");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        let inner = error.source().unwrap();
        assert_eq!(inner.to_string(), "Unexpected: inner");
        assert_eq!(inner.source().unwrap().to_string(), "refused");
    }
    assert_eq!((fixture.origin_opens(), failed.fired()), (1, 1));
}
