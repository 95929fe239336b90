//! The conformance suite over different origins and cache options.

use std::sync::Mutex;
use std::time::Duration;

use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Key, Memory, MultipartLimits, Storage, async_trait};
use storage_fs::Fs;
use storage_mirror::cache::{Cache, CacheBuilder};
use storage_testkit::Harness;
use storage_testkit::faults::Faults;
use tempfile::TempDir;

use super::common::MIB;

/// The kind of origin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Memory,
    /// With public and signed links.
    Files,
}

/// Storages with a cache each, whose directories live as long as the harness.
struct Cached {
    origin: Origin,
    options: fn(CacheBuilder) -> CacheBuilder,
    directories: Mutex<Vec<TempDir>>,
}

impl Cached {
    fn new(origin: Origin, options: fn(CacheBuilder) -> CacheBuilder) -> Self {
        Self { origin, options, directories: Mutex::default() }
    }

    fn over(&self, origin: impl FnOnce(&TempDir) -> Storage) -> Storage {
        // In a file system in memory, where syncing costs nothing, if the machine has one.
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory =
            tempfile::Builder::new().prefix("storage-cache-").tempdir_in(parent).unwrap();
        let builder = Cache::builder(origin(&directory), directory.path().join("cache"), 64 * MIB);
        self.directories.lock().unwrap().push(directory);
        Storage::new((self.options)(builder).build().unwrap())
    }
}

#[async_trait]
impl Harness for Cached {
    async fn storage(&self) -> Storage {
        if self.origin == Origin::Memory {
            return self.over(|_| Memory::storage());
        }
        self.over(|directory| {
            let origin = Fs::builder(directory.path().join("root"))
                .durable(false)
                .public_url("https://media.example.com/files".parse().unwrap())
                .signing_key(SigningKey::new("the signing key of origin").unwrap());
            Storage::new(origin.build().unwrap())
        })
    }

    fn rejects_key(&self, key: &Key) -> bool {
        let is_refused = |segment: &str| segment.len() > 255 || segment == ".anystorage";
        self.origin == Origin::Files && key.segments().any(is_refused)
    }

    fn is_tree(&self) -> bool {
        self.origin == Origin::Files
    }

    fn multipart_limits(&self) -> Option<MultipartLimits> {
        match self.origin {
            Origin::Memory => Memory::storage().multipart_limits().ok(),
            Origin::Files => Some(MultipartLimits::new(1, 5 << 30, 10_000)),
        }
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        self.origin == Origin::Memory
    }

    async fn broken_backend(&self) -> Option<Storage> {
        let faults = Faults::new();
        faults.fail_all(ErrorKind::Unexpected);
        Some(self.over(|_| Memory::storage().layer(|inner| faults.layer(inner))))
    }
}

storage_testkit::conformance!(over_memory, Cached::new(Origin::Memory, |builder| builder));
storage_testkit::conformance!(over_files, Cached::new(Origin::Files, |builder| builder));
// Each open revalidates the object.
storage_testkit::conformance!(
    without_ttl,
    Cached::new(Origin::Memory, |builder| builder.ttl(Duration::ZERO))
);
// Most objects are too large, and the others are evicted.
storage_testkit::conformance!(
    with_little_room,
    Cached::new(Origin::Memory, |builder| builder.max_object_size(20_000).memory(0))
);
