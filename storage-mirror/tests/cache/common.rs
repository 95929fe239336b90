//! A cache over a memory storage whose faults a test plans.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage_core::{Memory, Operation, Storage};
use storage_mirror::cache::{Cache, CacheBuilder};
use storage_testkit::faults::Faults;
use storage_testkit::wait::until;
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1024 * 1024;

/// A cache with a temporary directory.
pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
    /// The origin without faults and without the cache.
    pub(crate) origin: Storage,
    pub(crate) faults: Faults,
    pub(crate) cache: Cache,
    /// The storage under test.
    pub(crate) storage: Storage,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(options: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Self {
        let directory = tempfile::Builder::new().prefix("storage-cache-").tempdir().unwrap();
        let (origin, faults) = (Memory::storage(), Faults::new());
        let builder =
            Cache::builder(faulty(&origin, &faults), directory.path().join("cache"), 64 * MIB);
        let cache = options(builder).build().unwrap();
        let storage = Storage::new(cache.clone());
        Self { directory, origin, faults, cache, storage }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Builds another cache of the same origin in the same directory, as after a restart.
    pub(crate) fn another(&self) -> (Cache, Storage) {
        let builder = Cache::builder(faulty(&self.origin, &self.faults), self.path(), 64 * MIB);
        let cache = builder.build().unwrap();
        (cache.clone(), Storage::new(cache))
    }

    /// Opens the directory without a read of origin.
    pub(crate) async fn open_directory(&self) {
        open_directory(&self.path(), &self.cache, &self.storage).await;
    }

    /// Returns the number of `open` calls of origin.
    pub(crate) fn origin_opens(&self) -> usize {
        self.faults.calls(Operation::Open)
    }

    /// Reads an object until the cache has stored it.
    pub(crate) async fn keep(&self, key: &str) {
        let is_stored = async || {
            read(&self.storage, key).await;
            let before = self.origin_opens();
            read(&self.storage, key).await;
            let status = self.cache.status();
            self.origin_opens() == before && status.objects > 0 && status.fetching == 0
        };
        assert!(until(is_stored).await, "{key} is never stored: {:?}", self.cache.status());
    }
}

/// Opens the directory of a cache without a read of origin. An operation waits two seconds for it,
/// and a slow disk may need longer.
pub(crate) async fn open_directory(path: &Path, cache: &Cache, storage: &Storage) {
    std::fs::create_dir_all(path).unwrap();
    until_unlocked(path).await;
    let is_open = async || {
        storage.delete("none").await.unwrap();
        cache.status().is_open
    };
    assert!(until(is_open).await, "the directory is never open");
}

/// Waits until the directory is unlocked: fetches may outlive their cache, and a child process that
/// has not executed its program yet holds the lock as well.
pub(crate) async fn until_unlocked(path: &Path) {
    let is_unlocked = async || match std::fs::File::open(path.join("lock")) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    assert!(until(is_unlocked).await, "the directory stays locked");
}

fn faulty(origin: &Storage, faults: &Faults) -> Storage {
    let faults = faults.clone();
    origin.clone().layer(move |inner: Arc<_>| faults.layer(inner))
}

pub(crate) async fn read(storage: &Storage, key: &str) -> Vec<u8> {
    storage.open(key).await.unwrap().bytes().await.unwrap().to_vec()
}

/// Returns pseudo-random bytes of a seed.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Returns the files of the objects in a cache's directory.
pub(crate) fn entry_files(path: &Path) -> Vec<PathBuf> {
    let shelves = (0..=255).map(|shelf| path.join(format!("{shelf:02x}")));
    let files = shelves.filter_map(|shelf| std::fs::read_dir(shelf).ok()).flatten();
    files.map(|file| file.unwrap().path()).collect()
}
