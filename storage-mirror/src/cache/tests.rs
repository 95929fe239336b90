//! Tests of the options that depend on the clock: `ttl` and `stale_if_error`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::{ErrorKind, Key, Memory, Operation, Storage};
use storage_testkit::faults::Faults;
use storage_testkit::wait::until;
use tempfile::TempDir;

use super::{Cache, CacheBuilder};
use crate::engine::Clock;

/// A cache whose clock a test sets.
struct Scene {
    directory: TempDir,
    seconds: Arc<AtomicU64>,
    origin: Storage,
    faults: Faults,
    cache: Cache,
    storage: Storage,
}

impl Scene {
    fn new(options: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (origin, faults) = (Memory::storage(), Faults::new());
        let seconds = Arc::new(AtomicU64::new(2_000_000_000));
        let clock = Clock::new({
            let seconds = Arc::clone(&seconds);
            move || -> SystemTime {
                UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::SeqCst))
            }
        });
        let faulty = origin.clone().layer(|inner| faults.layer(inner));
        let builder = Cache::builder(faulty, directory.path().join("cache"), 64 << 20);
        let cache = options(builder).clock(clock).build().unwrap();
        let storage = Storage::new(cache.clone());
        Self { directory, seconds, origin, faults, cache, storage }
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn try_read(&self) -> storage_core::Result<String> {
        self.storage.open("a").await?.text().await
    }

    async fn read(&self) -> String {
        self.try_read().await.unwrap()
    }

    /// Opens the directory of the cache. A read waits for it for a moment only.
    async fn open_directory(&self) {
        fs::create_dir(self.directory.path().join("cache")).unwrap();
        let is_open = async || {
            self.storage.delete("none").await.unwrap();
            self.cache.status().is_open
        };
        assert!(until(is_open).await, "the directory is never open");
    }

    /// Reads the object until it is in the cache.
    async fn keep(&self) {
        let is_stored = async || {
            self.read().await;
            let status = self.cache.status();
            status.objects > 0 && status.fetching == 0
        };
        assert!(until(is_stored).await, "the object is never stored: {:?}", self.cache.status());
    }

    fn origin_opens(&self) -> usize {
        self.faults.calls(Operation::Open)
    }
}

#[tokio::test]
async fn an_object_is_served_until_its_ttl_is_over_and_then_revalidated() {
    let scene = Scene::new(|builder| builder.ttl(Duration::from_secs(100)));
    scene.origin.save("a", "old").await.unwrap();
    scene.keep().await;
    scene.origin.save("a", "new").await.unwrap();
    let calls = scene.origin_opens();
    scene.pass(99);
    assert_eq!((scene.read().await.as_str(), scene.origin_opens()), ("old", calls));
    scene.pass(1);
    assert_eq!((scene.read().await.as_str(), scene.origin_opens()), ("new", calls + 1));
}

#[tokio::test]
async fn the_ttl_defaults_to_an_hour() {
    let scene = Scene::new(|builder| builder);
    scene.origin.save("a", "old").await.unwrap();
    scene.keep().await;
    scene.origin.save("a", "new").await.unwrap();
    scene.pass(60 * 60 - 1);
    assert_eq!(scene.read().await, "old");
    scene.pass(1);
    assert_eq!(scene.read().await, "new");
}

#[tokio::test]
async fn an_object_that_has_not_changed_is_not_fetched_again() {
    let scene = Scene::new(|builder| builder.ttl(Duration::from_secs(100)));
    scene.origin.save("a", "same").await.unwrap();
    scene.keep().await;
    let (calls, before) = (scene.origin_opens(), scene.cache.status());
    scene.pass(100);
    assert_eq!(scene.read().await, "same");
    assert_eq!(scene.origin_opens(), calls + 1, "origin confirmed it");
    scene.pass(99);
    assert_eq!((scene.read().await.as_str(), scene.origin_opens()), ("same", calls + 1));
    let after = scene.cache.status();
    assert_eq!((after.fetched, after.hits), (before.fetched, before.hits + 2));
}

#[tokio::test]
async fn cache_control_shortens_the_ttl_and_does_not_extend_it() {
    for (cache_control, fresh_for) in
        [("max-age=10", 10), ("max-age=31536000, immutable", 100), ("no-cache", 0)]
    {
        let scene = Scene::new(|builder| builder.ttl(Duration::from_secs(100)));
        scene.origin.save("a", "old").cache_control(cache_control).await.unwrap();
        scene.keep().await;
        scene.origin.save("a", "new").cache_control(cache_control).await.unwrap();
        if fresh_for > 0 {
            scene.pass(fresh_for - 1);
            assert_eq!(scene.read().await, "old", "{cache_control}");
            scene.pass(1);
        }
        assert_eq!(scene.read().await, "new", "{cache_control}");
    }
}

#[tokio::test]
async fn a_range_of_a_stale_object_comes_from_origin() {
    let scene = Scene::new(|builder| builder.ttl(Duration::from_secs(100)));
    scene.origin.save("a", "old text").await.unwrap();
    scene.keep().await;
    scene.origin.save("a", "new text").await.unwrap();
    let range = || async { scene.storage.open("a").range(0..3).await?.text().await };
    assert_eq!(range().await.unwrap(), "old");
    scene.pass(100);
    assert_eq!(range().await.unwrap(), "new");
}

#[tokio::test]
async fn without_stale_if_error_a_stale_object_is_not_served() {
    let scene = Scene::new(|builder| builder.ttl(Duration::from_secs(100)));
    scene.origin.save("a", "old").cache_control("stale-if-error=9999").await.unwrap();
    scene.keep().await;
    scene.pass(100);
    let _ = scene.faults.on(Operation::Open).fail(ErrorKind::Timeout);
    assert_eq!(scene.try_read().await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn with_stale_if_error_a_stale_object_is_served_if_origin_fails_for_a_while() {
    let scene = Scene::new(|builder| {
        builder.ttl(Duration::from_secs(100)).stale_if_error(Duration::from_secs(50))
    });
    scene.origin.save("a", "old").await.unwrap();
    scene.keep().await;
    scene.origin.save("a", "new").await.unwrap();
    let _ = scene.faults.on(Operation::Open).fail(ErrorKind::Timeout);
    scene.pass(149);
    assert_eq!(scene.read().await, "old");
    assert_eq!(scene.cache.status().stale_hits, 1);
    // An error that is not retryable is returned.
    scene.faults.clear();
    let _ = scene.faults.on(Operation::Open).fail(ErrorKind::PermissionDenied);
    assert_eq!(scene.try_read().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    scene.faults.clear();
    let _ = scene.faults.on(Operation::Open).fail(ErrorKind::Timeout);
    scene.pass(1);
    assert_eq!(scene.try_read().await.unwrap_err().kind(), ErrorKind::Timeout);
    scene.faults.clear();
    assert_eq!(scene.read().await, "new");
}

#[tokio::test]
async fn an_object_that_was_deleted_at_origin_is_missing_once_its_ttl_is_over() {
    let scene = Scene::new(|builder| {
        builder.ttl(Duration::from_secs(100)).stale_if_error(Duration::from_secs(50))
    });
    scene.origin.save("a", "old").await.unwrap();
    scene.keep().await;
    scene.origin.delete("a").await.unwrap();
    assert_eq!(scene.read().await, "old");
    scene.pass(100);
    assert_eq!(scene.try_read().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(scene.cache.status().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_purge_turns_the_cache_off_for_a_minute_and_then_all_objects_are_removed() {
    let scene = Scene::new(|builder| builder);
    scene.origin.save("a", "old").await.unwrap();
    scene.keep().await;
    let path = scene.directory.path();
    let shelves = (0..=255).map(|shelf| path.join(format!("cache/{shelf:02x}")));
    let is_full = |shelf: &PathBuf| fs::read_dir(shelf).unwrap().next().is_some();
    let (shelf, aside) = (shelves.into_iter().find(is_full).unwrap(), path.join("aside"));
    fs::rename(&shelf, &aside).unwrap();
    fs::write(&shelf, "in the way").unwrap();
    let engine = scene.cache.0.directory.open_engine().unwrap();
    engine.invalidate(&[Key::new("a").unwrap()]);
    assert!(until(async || engine.is_off()).await, "the purge never fails");
    drop(engine);
    scene.origin.save("a", "new").await.unwrap();
    assert_eq!(scene.read().await, "new");
    assert!(!scene.cache.status().is_open);
    fs::remove_file(&shelf).unwrap();
    fs::rename(&aside, &shelf).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    let is_open = async || {
        assert_eq!(scene.read().await, "new");
        scene.cache.status().is_open
    };
    assert!(until(is_open).await, "the directory never opens");
    assert_eq!(scene.read().await, "new");
}

#[tokio::test]
async fn the_ttl_of_a_confirmed_object_counts_from_before_the_request_to_origin() {
    let scene = Scene::new(|builder| builder.ttl(Duration::from_secs(100)));
    scene.origin.save("a", "same").await.unwrap();
    scene.keep().await;
    scene.pass(100);
    let held = scene.faults.on(Operation::Stat).hold();
    let read = tokio::spawn({
        let storage = scene.storage.clone();
        async move { storage.open("a").await.unwrap().text().await.unwrap() }
    });
    held.reached().await;
    // Origin has confirmed the object, and the response to `stat` takes a while.
    scene.pass(60);
    held.release();
    assert_eq!(read.await.unwrap(), "same");
    let calls = scene.origin_opens();
    scene.pass(39);
    assert_eq!((scene.read().await.as_str(), scene.origin_opens()), ("same", calls));
    scene.pass(1);
    held.release();
    assert_eq!((scene.read().await.as_str(), scene.origin_opens()), ("same", calls + 1));
}

#[tokio::test]
async fn the_ttl_of_a_fetched_object_counts_from_before_the_request_to_origin() {
    let scene = Scene::new(|builder| builder.ttl(Duration::from_secs(100)));
    scene.origin.save("a", "old").await.unwrap();
    scene.open_directory().await;
    let held = scene.faults.on(Operation::Open).call(1).hold();
    let read = tokio::spawn({
        let storage = scene.storage.clone();
        async move { storage.open("a").await.unwrap().text().await.unwrap() }
    });
    held.reached().await;
    scene.pass(60);
    held.release();
    assert_eq!(read.await.unwrap(), "old");
    scene.keep().await;
    scene.origin.save("a", "new").await.unwrap();
    scene.pass(39);
    assert_eq!(scene.read().await, "old");
    scene.pass(1);
    assert_eq!(scene.read().await, "new");
}

#[tokio::test(start_paused = true)]
async fn with_stale_if_error_a_stale_object_is_served_if_origin_is_slow() {
    let scene = Scene::new(|builder| {
        builder.ttl(Duration::from_secs(100)).stale_if_error(Duration::from_secs(50))
    });
    scene.origin.save("a", "old").await.unwrap();
    scene.keep().await;
    scene.pass(100);
    let slow = scene.faults.on(Operation::Open).delay(Duration::from_secs(90));
    for _ in 0..2 {
        assert_eq!(scene.read().await, "old");
    }
    assert_eq!((scene.cache.status().stale_hits, slow.fired()), (2, 1));
}
