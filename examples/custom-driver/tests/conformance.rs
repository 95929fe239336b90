//! The proof: every case of the conformance suite, each a test of its own.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_core::{Storage, async_trait};
use storage_redb::{Redb, RedbOptions};
use storage_testkit::Harness;
use tempfile::TempDir;

struct InRedb {
    dir: TempDir,
    made: AtomicUsize,
}

impl InRedb {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), made: AtomicUsize::new(0) }
    }

    fn new_path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.redb", self.made.fetch_add(1, Ordering::Relaxed)))
    }
}

#[async_trait]
impl Harness for InRedb {
    async fn storage(&self) -> Storage {
        Storage::new(Redb::open(&RedbOptions::new(self.new_path())).unwrap())
    }

    /// A database whose file is cut off under it, and which has nothing in its cache.
    async fn broken_backend(&self) -> Option<Storage> {
        let path = self.new_path();
        let mut options = RedbOptions::new(&path);
        options.cache_mib = 0;
        let storage = Storage::new(Redb::open(&options).unwrap());
        storage.save("a", "bytes").await.unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        Some(storage)
    }
}

storage_testkit::conformance!(redb, InRedb::new());
