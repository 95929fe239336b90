//! The conformance suite on the memory driver: alone, with links, and through every layer.

// All of it is test code, where a panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use storage_core::layers::{DefaultMetadata, Limit, Observed, PublicUrl, Retry, Timeout};
use storage_core::signed_url::SigningKey;
use storage_core::{
    Driver, ErrorKind, Key, MAX_KEY_BYTES, Memory, Metadata, MultipartLimits, Storage, async_trait,
};
use storage_testkit::extra_entries::{
    AROUND_UNREADABLE_DIRECTORY, BESIDE_FOLDER_MARKERS, ExtraEntries, FOLDER_MARKERS,
    UNREADABLE_DIRECTORY,
};
use storage_testkit::faults::Faults;
use storage_testkit::{Fixture, Harness};

const PREFIX: &str = "some/prefix";

/// Adds links to the memory driver, so that it shows which layer would lose them.
fn linked(inner: Arc<dyn Driver>) -> PublicUrl {
    let base = "https://signed.example.com/".parse().unwrap();
    PublicUrl::new(inner, base).signing_key(SigningKey::new("a secret for tests alone").unwrap())
}

/// The memory driver with links and layers around it.
struct Layered {
    layers: fn(&Storage) -> Storage,
    /// The prefix that the layers add to each key.
    prefix_len: usize,
    /// Whether the objects are saved to the memory driver directly, because the layers refuse
    /// saves.
    seeded_inside: bool,
}

impl Layered {
    fn with(layers: fn(&Storage) -> Storage) -> Self {
        Self { layers, prefix_len: 0, seeded_inside: false }
    }
}

#[async_trait]
impl Harness for Layered {
    async fn storage(&self) -> Storage {
        self.fixture().await.storage
    }

    async fn fixture(&self) -> Fixture {
        let memory = Memory::storage().layer(linked);
        let storage = (self.layers)(&memory);
        let seed = if self.seeded_inside { memory } else { storage.clone() };
        Fixture::new(storage, seed)
    }

    fn rejects_key(&self, key: &Key) -> bool {
        key.as_str().len() + self.prefix_len > MAX_KEY_BYTES
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        true
    }

    fn multipart_limits(&self) -> Option<MultipartLimits> {
        if self.seeded_inside {
            return Some(MultipartLimits::none());
        }
        Memory::storage().multipart_limits().ok()
    }

    /// No layer may report a failure of its inner driver as a missing object.
    async fn broken_backend(&self) -> Option<Storage> {
        let faults = Faults::new();
        faults.fail_all(ErrorKind::PermissionDenied);
        Some((self.layers)(&Memory::storage().layer(|inner| faults.layer(inner))))
    }

    async fn folder_markers(&self) -> Option<Storage> {
        let leave = |inner| {
            FOLDER_MARKERS
                .iter()
                .fold(inner, |it: ExtraEntries, name| it.folder_marker(self.inside(name)))
        };
        Some(self.with_foreign(BESIDE_FOLDER_MARKERS, leave).await)
    }

    async fn unreadable_directory(&self) -> Option<Storage> {
        let leave =
            |inner: ExtraEntries| inner.unreadable_directory(self.inside(UNREADABLE_DIRECTORY));
        Some(self.with_foreign(AROUND_UNREADABLE_DIRECTORY, leave).await)
    }
}

impl Layered {
    /// Returns the name of a key in the memory driver.
    fn inside(&self, name: &str) -> String {
        if self.prefix_len == 0 { name.to_owned() } else { format!("{PREFIX}/{name}") }
    }

    /// Returns the layers around a memory driver with entries of other programs.
    async fn with_foreign(
        &self,
        keys: &[&str],
        leave: impl FnOnce(ExtraEntries) -> ExtraEntries,
    ) -> Storage {
        let memory = Memory::storage();
        for key in keys {
            memory.save(self.inside(key), "x").await.unwrap();
        }
        (self.layers)(&memory.layer(|inner| leave(ExtraEntries::new(inner))))
    }
}

/// The memory driver alone.
struct InMemory;

#[async_trait]
impl Harness for InMemory {
    async fn storage(&self) -> Storage {
        Memory::storage()
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        true
    }
}

fn prefixed(storage: &Storage) -> Storage {
    storage.prefixed(PREFIX).unwrap()
}

fn timeout(inner: Arc<dyn Driver>) -> Timeout {
    Timeout::new(inner, Duration::from_secs(120))
}

/// A higher limit than the number of concurrent calls of any case.
fn limit(inner: Arc<dyn Driver>) -> Limit {
    Limit::new(inner, 100)
}

fn public_url(inner: Arc<dyn Driver>) -> PublicUrl {
    PublicUrl::new(inner, "https://media.example.com/files".parse().unwrap())
}

fn all(storage: &Storage) -> Storage {
    prefixed(
        &storage
            .layer(public_url)
            .layer(|inner| DefaultMetadata::new(inner, Metadata::new()))
            .layer(limit)
            .layer(timeout)
            .layer(|inner| Retry::new(inner, 2))
            .layer(Observed::new),
    )
}

storage_testkit::conformance!(memory, InMemory);
storage_testkit::conformance!(memory_with_links, Layered::with(Storage::clone));
storage_testkit::conformance!(
    prefixed,
    Layered { prefix_len: PREFIX.len() + 1, ..Layered::with(super::prefixed) }
);
storage_testkit::conformance!(
    read_only,
    Layered { seeded_inside: true, ..Layered::with(Storage::read_only) }
);
storage_testkit::conformance!(timeout, Layered::with(|storage| storage.layer(super::timeout)));
storage_testkit::conformance!(
    retry,
    Layered::with(|storage| storage.layer(|inner| Retry::new(inner, 2)))
);
storage_testkit::conformance!(limit, Layered::with(|storage| storage.layer(super::limit)));
storage_testkit::conformance!(observed, Layered::with(|storage| storage.layer(Observed::new)));
// The layer for default metadata is omitted, because it adds metadata that no case saved.
storage_testkit::conformance!(
    defaults,
    Layered::with(|storage| storage.layer(|inner| DefaultMetadata::new(inner, Metadata::new())))
);
storage_testkit::conformance!(
    public_url,
    Layered::with(|storage| storage.layer(super::public_url))
);
storage_testkit::conformance!(
    all_layers,
    Layered { prefix_len: PREFIX.len() + 1, ..Layered::with(super::all) }
);
