//! Trouble with the directory: no read fails.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use super::common::{Scene, entry_files, pattern, read};

/// Changes a byte of the only object's file.
fn corrupt(scene: &Scene, at: u64) {
    let files = entry_files(&scene.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let mut file = fs::File::options().write(true).open(&files[0]).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(b"\xff\x00\xff").unwrap();
}

#[tokio::test]
async fn a_broken_object_is_fetched_again_wherever_it_is_broken() {
    for (size, at) in
        [(1_000_000, 4096), (1_000_000, 600_000), (50_000, 20_000), (1_000_000, 30), (50_000, 30)]
    {
        // Without memory, so that each read reads the file.
        let scene = Scene::with(|builder| builder.memory(0));
        let body = pattern(size as u64 + at, size);
        scene.origin.save("a", body.clone()).await.unwrap();
        scene.keep("a").await;
        corrupt(&scene, at);
        for _ in 0..3 {
            assert!(read(&scene.storage, "a").await == body, "{size} bytes, broken at {at}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_broken_in_the_middle_never_continues_with_another_version() {
    let scene = Scene::with(|builder| builder.memory(0));
    scene.origin.save("a", pattern(1, 1_000_000)).await.unwrap();
    scene.keep("a").await;
    scene.origin.save("a", pattern(2, 1_000_000)).await.unwrap();
    corrupt(&scene, 600_000);
    let error = scene.storage.open("a").await.unwrap().bytes().await.unwrap_err();
    assert_eq!(error.kind(), storage_core::ErrorKind::Integrity);
    assert!(error.is_retryable(), "{error}");
    assert!(read(&scene.storage, "a").await == pattern(2, 1_000_000));
}

#[tokio::test]
async fn a_file_that_is_gone_is_fetched_again() {
    let scene = Scene::with(|builder| builder.memory(0));
    let body = pattern(3, 400_000);
    scene.origin.save("a", body.clone()).await.unwrap();
    scene.keep("a").await;
    for file in entry_files(&scene.path()) {
        fs::File::options().write(true).open(&file).unwrap().set_len(10_000).unwrap();
        fs::remove_file(file).unwrap();
    }
    for _ in 0..3 {
        assert!(read(&scene.storage, "a").await == body);
    }
}

#[tokio::test]
async fn a_directory_that_disappears_fails_no_read() {
    let scene = Scene::with(|builder| builder.memory(0));
    let (a, b) = (pattern(4, 400_000), pattern(5, 400_000));
    scene.origin.save("a", a.clone()).await.unwrap();
    scene.origin.save("b", b.clone()).await.unwrap();
    scene.keep("a").await;
    fs::remove_dir_all(scene.path()).unwrap();
    for _ in 0..3 {
        assert!(read(&scene.storage, "a").await == a);
        assert!(read(&scene.storage, "b").await == b);
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_cannot_be_opened_is_tried_again_after_a_minute() {
    let scene = Scene::new();
    fs::write(scene.path(), "in the way").unwrap();
    scene.storage.save("a", "one").await.unwrap();
    assert_eq!(read(&scene.storage, "a").await, b"one");
    assert!(!scene.cache.status().is_open);
    fs::remove_file(scene.path()).unwrap();
    assert_eq!(read(&scene.storage, "a").await, b"one");
    assert!(!scene.cache.status().is_open, "not before a minute has passed");
    tokio::time::advance(Duration::from_secs(61)).await;
    opens(&scene.cache, || read(&scene.storage, "a")).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_cache_on_a_directory_reads_from_origin_until_the_first_is_gone() {
    let mut scene = Scene::new();
    scene.storage.save("a", "old").await.unwrap();
    scene.keep("a").await;
    let (cache, storage) = scene.another();
    assert_eq!(read(&storage, "a").await, b"old");
    assert!(!cache.status().is_open);
    // The second one writes what the first one has.
    storage.save("a", "new").await.unwrap();
    assert_eq!(read(&storage, "a").await, b"new");
    (scene.cache, scene.storage) = scene.another();
    tokio::time::advance(Duration::from_secs(61)).await;
    opens(&cache, || read(&storage, "a")).await;
    assert_eq!(read(&storage, "a").await, b"new", "what was written meanwhile is removed");
}

/// Reads until a cache has opened its directory.
async fn opens<F: Future<Output = Vec<u8>>>(
    cache: &storage_mirror::cache::Cache,
    read: impl Fn() -> F,
) {
    for _ in 0..2_000 {
        read().await;
        if cache.status().is_open {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    panic!("it never opens");
}
