//! The conformance suite: each case is a test.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_core::{Storage, async_trait};
use storage_redb::{Redb, RedbOptions};
use storage_testkit::Harness;
use tempfile::TempDir;

struct InRedb {
    dir: TempDir,
    count: AtomicUsize,
}

impl InRedb {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), count: AtomicUsize::new(0) }
    }

    fn new_path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.redb", self.count.fetch_add(1, Ordering::Relaxed)))
    }
}

#[async_trait]
impl Harness for InRedb {
    async fn storage(&self) -> Storage {
        Storage::new(Redb::open(&RedbOptions::new(self.new_path())).unwrap())
    }

    /// Returns a database whose file has been truncated and whose cache is empty.
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
