//! Faults of the cache directory: reads succeed from origin.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use storage_testkit::wait::until;

use super::common::{Fixture, entry_files, pattern, read, until_unlocked};

/// Overwrites three bytes in the file of the only object.
fn corrupt(fixture: &Fixture, at: u64) {
    let files = entry_files(&fixture.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let mut file = fs::File::options().write(true).open(&files[0]).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(b"\xff\x00\xff").unwrap();
}

#[tokio::test]
async fn an_object_with_a_broken_file_is_fetched_again() {
    for (size, at) in
        [(1_000_000, 4096), (1_000_000, 600_000), (50_000, 20_000), (1_000_000, 30), (50_000, 30)]
    {
        // Without memory, so that each read reads the file.
        let fixture = Fixture::with(|builder| builder.memory(0));
        let body = pattern(size as u64 + at, size);
        fixture.origin.save("a", body.clone()).await.unwrap();
        fixture.keep("a").await;
        corrupt(&fixture, at);
        for _ in 0..3 {
            assert!(read(&fixture.storage, "a").await == body, "{size} bytes, broken at {at}");
        }
    }
}

#[tokio::test]
async fn a_body_broken_in_the_middle_fails_if_origin_has_another_version() {
    let fixture = Fixture::with(|builder| builder.memory(0));
    fixture.origin.save("a", pattern(1, 1_000_000)).await.unwrap();
    fixture.keep("a").await;
    fixture.origin.save("a", pattern(2, 1_000_000)).await.unwrap();
    corrupt(&fixture, 600_000);
    let error = fixture.storage.open("a").await.unwrap().bytes().await.unwrap_err();
    assert_eq!(error.kind(), storage_core::ErrorKind::Integrity);
    assert!(error.is_retryable(), "{error}");
    assert!(read(&fixture.storage, "a").await == pattern(2, 1_000_000));
}

#[tokio::test]
async fn an_object_whose_file_was_removed_is_fetched_again() {
    let fixture = Fixture::with(|builder| builder.memory(0));
    let body = pattern(3, 400_000);
    fixture.origin.save("a", body.clone()).await.unwrap();
    fixture.keep("a").await;
    for file in entry_files(&fixture.path()) {
        fs::File::options().write(true).open(&file).unwrap().set_len(10_000).unwrap();
        fs::remove_file(file).unwrap();
    }
    for _ in 0..3 {
        assert!(read(&fixture.storage, "a").await == body);
    }
}

#[tokio::test]
async fn removing_the_directory_fails_no_read() {
    let fixture = Fixture::with(|builder| builder.memory(0));
    let (a, b) = (pattern(4, 400_000), pattern(5, 400_000));
    fixture.origin.save("a", a.clone()).await.unwrap();
    fixture.origin.save("b", b.clone()).await.unwrap();
    fixture.keep("a").await;
    fs::remove_dir_all(fixture.path()).unwrap();
    for _ in 0..3 {
        assert!(read(&fixture.storage, "a").await == a);
        assert!(read(&fixture.storage, "b").await == b);
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_cannot_be_opened_is_retried_after_a_minute() {
    let fixture = Fixture::new();
    fs::write(fixture.path(), "in the way").unwrap();
    fixture.storage.save("a", "one").await.unwrap();
    assert_eq!(read(&fixture.storage, "a").await, b"one");
    assert!(!fixture.cache.status().is_open);
    fs::remove_file(fixture.path()).unwrap();
    assert_eq!(read(&fixture.storage, "a").await, b"one");
    assert!(!fixture.cache.status().is_open, "not before a minute has passed");
    tokio::time::advance(Duration::from_secs(61)).await;
    opens(&fixture.cache, || read(&fixture.storage, "a")).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_cache_on_a_directory_reads_from_origin_until_the_first_is_dropped() {
    let mut fixture = Fixture::new();
    fixture.storage.save("a", "old").await.unwrap();
    fixture.keep("a").await;
    let (cache, storage) = fixture.another();
    assert_eq!(read(&storage, "a").await, b"old");
    assert!(!cache.status().is_open);
    // The second cache replaces an object that the first one has stored.
    storage.save("a", "new").await.unwrap();
    assert_eq!(read(&storage, "a").await, b"new");
    (fixture.cache, fixture.storage) = fixture.another();
    until_unlocked(&fixture.path()).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    opens(&cache, || read(&storage, "a")).await;
    assert_eq!(read(&storage, "a").await, b"new", "what was written meanwhile is removed");
}

/// Reads until a cache has opened its directory.
async fn opens<F: Future<Output = Vec<u8>>>(
    cache: &storage_mirror::cache::Cache,
    read: impl Fn() -> F,
) {
    let is_open = async || {
        read().await;
        cache.status().is_open
    };
    assert!(until(is_open).await, "the cache never opens its directory");
}
