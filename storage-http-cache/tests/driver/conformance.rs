//! The conformance suite, whatever the mirror is like: nothing of a mirror's trouble shows.

use std::sync::Mutex;
use std::time::Duration;

use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, Key, Memory, Operation, Storage, async_trait};
use storage_fs::Fs;
use storage_http_cache::{HttpCache, HttpCacheBuilder};
use storage_testkit::Harness;
use storage_testkit::faults::Faults;
use storage_testkit::http::closed_port;
use tempfile::TempDir;

use super::mirror::{Kind, Mirror, TOKEN};

const SIGNING_KEY: &str = "canary-signing-key-of-the-tests";

/// What origin is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Memory,
    /// With public and signed links.
    Files,
}

/// Storages with a mirror each, which live as long as the harness.
struct Tiers {
    /// `None` for one that is dead.
    kind: Option<Kind>,
    origin: Origin,
    alive: Mutex<Vec<(Option<Mirror>, Option<TempDir>)>>,
}

impl Tiers {
    fn new(kind: Option<Kind>, origin: Origin) -> Self {
        Self { kind, origin, alive: Mutex::default() }
    }

    fn over(&self, origin: Storage, directory: Option<TempDir>) -> Storage {
        let mirror = self.kind.map(|kind| Mirror::start(kind, origin.clone()));
        let url = mirror.as_ref().map_or_else(closed_port, Mirror::url);
        self.alive.lock().unwrap().push((mirror, directory));
        Storage::new(patient(HttpCache::builder(vec![url], origin), self.kind).build().unwrap())
    }
}

/// A breaker that opened would keep most of a suite away from a mirror that is in trouble.
fn patient(builder: HttpCacheBuilder, kind: Option<Kind>) -> HttpCacheBuilder {
    let builder = builder
        .token(TOKEN)
        .signing_key(SigningKey::new(SIGNING_KEY).unwrap())
        .memo(Duration::from_secs(3600))
        .header_timeout(Duration::from_secs(20));
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

    fn keeps_bodies_in_memory(&self) -> bool {
        self.origin == Origin::Memory
    }

    async fn broken_backend(&self) -> Option<Storage> {
        let faults = Faults::new();
        for verb in [
            Operation::Open,
            Operation::Stat,
            Operation::Exists,
            Operation::Delete,
            Operation::List,
            Operation::Save,
            Operation::Copy,
        ] {
            let _ = faults.on(verb).fail(ErrorKind::Unexpected);
        }
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

/// What the suite cannot tell: that the mirrors were asked, and were as they should be or as they
/// should not.
async fn read_often(kind: Kind) -> (Mirror, HttpCache) {
    let origin = Memory::storage();
    let mirror = Mirror::start(kind, origin.clone());
    let cache =
        patient(HttpCache::builder(vec![mirror.url()], origin), Some(kind)).build().unwrap();
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
async fn a_healthy_mirror_answers_all_reads_and_purges_after_each_write() {
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
async fn a_flapping_mirror_is_used_as_far_as_it_goes() {
    let (mirror, cache) = read_often(Kind::Flapping).await;
    let status = cache.status();
    assert!(mirror.wrong() > 0, "it never failed");
    assert!(status.mirrors[0].hits > 0 && status.fallbacks > 0, "{status:?}");
}

#[tokio::test]
async fn a_lying_mirror_is_found_out_and_what_is_true_is_used() {
    let (mirror, cache) = read_often(Kind::Lying).await;
    let status = cache.status();
    assert!(mirror.wrong() > 0, "it never lied");
    let told = &status.mirrors[0];
    assert!(
        told.hits > 0 && told.stale > 0 && told.broken_bodies > 0 && told.failures > 0,
        "{status:?}"
    );
}
