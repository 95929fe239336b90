//! The conformance suite with each kind of mirror: no failure of a mirror is visible.

use std::sync::Mutex;
use std::time::Duration;

use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Key, Memory, MultipartLimits, Storage, async_trait};
use storage_fs::Fs;
use storage_http_cache::{HttpCache, HttpCacheBuilder};
use storage_testkit::Harness;
use storage_testkit::faults::Faults;
use storage_testkit::http::closed_port;
use tempfile::TempDir;

use super::mirror::{Kind, TOKEN, TestMirror};

const SIGNING_KEY: &str = "canary-signing-key-of-the-tests";
/// A timeout that no test reaches. The defaults are shorter, and a busy machine may exceed them.
const GENEROUS: Duration = Duration::from_secs(60);

/// The kind of origin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Memory,
    /// A file system with public and signed links.
    Files,
}

/// Storages with a mirror each, which live as long as the harness.
struct Tiers {
    /// `None` for a mirror that is down.
    kind: Option<Kind>,
    origin: Origin,
    alive: Mutex<Vec<(Option<TestMirror>, Option<TempDir>)>>,
}

impl Tiers {
    fn new(kind: Option<Kind>, origin: Origin) -> Self {
        Self { kind, origin, alive: Mutex::default() }
    }

    fn over(&self, origin: Storage, directory: Option<TempDir>) -> Storage {
        let mirror = self.kind.map(|kind| TestMirror::start(kind, origin.clone()));
        let url = mirror.as_ref().map_or_else(closed_port, TestMirror::url);
        self.alive.lock().unwrap().push((mirror, directory));
        Storage::new(
            with_high_limits(HttpCache::builder(vec![url], origin), self.kind).build().unwrap(),
        )
    }
}

/// Raises the limits of the breaker, so that most requests of the suite are sent to a failing
/// mirror.
fn with_high_limits(builder: HttpCacheBuilder, kind: Option<Kind>) -> HttpCacheBuilder {
    let builder = builder
        .token(TOKEN)
        .signing_key(SigningKey::new(SIGNING_KEY).unwrap())
        .memo(Duration::from_secs(3600))
        .header_timeout(GENEROUS)
        .idle_timeout(GENEROUS);
    match kind {
        None | Some(Kind::Healthy) => builder,
        Some(_) => builder.breaker_failures(u32::MAX).key_penalty(Duration::ZERO),
    }
}

#[async_trait]
impl Harness for Tiers {
    async fn storage(&self) -> Storage {
        if self.origin == Origin::Memory {
            return self.over(Memory::storage(), None);
        }
        let directory = tempfile::Builder::new().prefix("storage-http-cache-").tempdir().unwrap();
        let origin = Fs::builder(directory.path().join("root"))
            .durable(false)
            .public_url("https://media.example.com/files".parse().unwrap())
            .signing_key(SigningKey::new("the signing key of origin").unwrap());
        self.over(Storage::new(origin.build().unwrap()), Some(directory))
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
        Some(self.over(Memory::storage().layer(|inner| faults.layer(inner)), None))
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned(), SIGNING_KEY.to_owned()]
    }
}

storage_testkit::conformance!(healthy, Tiers::new(Some(Kind::Healthy), Origin::Memory));
storage_testkit::conformance!(healthy_on_files, Tiers::new(Some(Kind::Healthy), Origin::Files));
storage_testkit::conformance!(dead, Tiers::new(None, Origin::Memory));
storage_testkit::conformance!(flapping, Tiers::new(Some(Kind::Flapping), Origin::Memory));
storage_testkit::conformance!(lying, Tiers::new(Some(Kind::Lying), Origin::Memory));

/// Reads and writes repeatedly, for tests that the mirror got requests and behaved as planned.
async fn read_often(kind: Kind) -> (TestMirror, HttpCache) {
    let origin = Memory::storage();
    let mirror = TestMirror::start(kind, origin.clone());
    let cache = with_high_limits(HttpCache::builder(vec![mirror.url()], origin), Some(kind))
        .build()
        .unwrap();
    let storage = Storage::new(cache.clone());
    for round in 0..5 {
        for number in 0..4 {
            let body = format!("round {round} of object {number}").repeat(100);
            storage.save(format!("k/{number}"), body.clone()).await.unwrap();
            for _ in 0..4 {
                assert_eq!(
                    storage.open(format!("k/{number}")).await.unwrap().text().await.unwrap(),
                    body
                );
            }
        }
    }
    (mirror, cache)
}

#[tokio::test]
async fn a_healthy_mirror_serves_all_reads_and_purges_after_each_write() {
    let (mirror, cache) = read_often(Kind::Healthy).await;
    let status = cache.status();
    assert_eq!(
        (status.mirrors[0].hits, status.from_origin, status.bytes_from_origin),
        (80, 0, 0),
        "{status:?}"
    );
    assert_eq!(mirror.purges(), 20);
    assert_eq!(status.mirrors[0].unconfirmed_purges, 0);
    assert!(mirror.keeps("k/0"));
}

#[tokio::test]
async fn a_flapping_mirror_serves_some_reads() {
    let (mirror, cache) = read_often(Kind::Flapping).await;
    let status = cache.status();
    assert!(mirror.wrong() > 0, "no request failed");
    assert!(status.mirrors[0].hits > 0 && status.fallbacks > 0, "{status:?}");
}

#[tokio::test]
async fn wrong_responses_of_a_mirror_are_detected_and_correct_ones_are_used() {
    let (mirror, cache) = read_often(Kind::Lying).await;
    let status = cache.status();
    assert!(mirror.wrong() > 0, "no response was wrong");
    let mirror_status = &status.mirrors[0];
    assert!(
        mirror_status.hits > 0
            && mirror_status.stale > 0
            && mirror_status.broken_bodies > 0
            && mirror_status.failures > 0,
        "{status:?}"
    );
}
