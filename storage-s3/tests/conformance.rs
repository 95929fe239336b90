//! The conformance suite on real servers: one in this process, and one that the environment names.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::sync::Mutex;

use common::external::{External, TestPrefix};
use common::known_failures;
use common::server::{self, Bucket, Server};
use storage_core::{Key, MAX_KEY_BYTES, Memory, Storage, async_trait};
use storage_s3::{ChecksumMode, S3Builder};
use storage_testkit::Harness;
use storage_testkit::http::closed_port;

const PREFIX: &str = "some/prefix";
const MIB: u64 = 1024 * 1024;
/// Eight parts of 8 MiB in flight, one that is being filled, and what is read of the next.
const MEMORY_LIMIT: u64 = 80 * MIB;

/// The base of public links, which no test follows.
fn public_url() -> storage_core::LinkBase {
    "https://media.example.com/files".parse().unwrap()
}

/// Storages on the server in this process. Each has a bucket that exists as long as the harness.
struct InProcess {
    set_up: fn(S3Builder) -> S3Builder,
    /// Changes a builder so that its driver fails.
    break_it: fn(S3Builder) -> S3Builder,
    prefix: Option<&'static str>,
    buckets: Mutex<Vec<Bucket>>,
}

impl InProcess {
    fn new(set_up: fn(S3Builder) -> S3Builder) -> Self {
        let break_it = |builder: S3Builder| builder.secret_access_key("another/canary+than=that");
        Self { set_up, break_it, prefix: None, buckets: Mutex::default() }
    }

    fn storage_on(&self, builder: S3Builder) -> Storage {
        let storage =
            Storage::new((self.set_up)(builder).public_url(public_url()).build().unwrap());
        match self.prefix {
            Some(prefix) => storage.prefixed(prefix).unwrap(),
            None => storage,
        }
    }

    fn bucket(&self) -> S3Builder {
        let bucket = Server::get().bucket();
        let builder = bucket.builder();
        self.buckets.lock().unwrap().push(bucket);
        builder
    }
}

#[async_trait]
impl Harness for InProcess {
    async fn storage(&self) -> Storage {
        self.storage_on(self.bucket())
    }

    fn rejects_key(&self, key: &Key) -> bool {
        key.as_str().len() + self.prefix.map_or(0, |prefix| prefix.len() + 1) > MAX_KEY_BYTES
    }

    fn skip_reason(&self, case: &str) -> Option<&str> {
        known_failures::find(known_failures::S3S_FS, case)
    }

    async fn broken_backend(&self) -> Option<Storage> {
        Some(self.storage_on((self.break_it)(self.bucket())))
    }

    fn max_body_memory(&self) -> u64 {
        // The server and its memory are in the same process.
        2 * MEMORY_LIMIT
    }

    fn secrets(&self) -> Vec<String> {
        vec![server::SECRET_ACCESS_KEY.to_owned()]
    }
}

/// Storages on the server that the environment names. Each has a prefix that is deleted with the
/// harness.
struct ExternalServer {
    set_up: fn(S3Builder) -> S3Builder,
    external: Option<&'static External>,
    prefixes: Mutex<Vec<TestPrefix>>,
}

impl ExternalServer {
    fn new(set_up: fn(S3Builder) -> S3Builder) -> Self {
        Self { set_up, external: External::get(), prefixes: Mutex::default() }
    }
}

#[async_trait]
impl Harness for ExternalServer {
    async fn storage(&self) -> Storage {
        // Every case is excused without a server, but the suite needs a storage.
        let Some(external) = self.external else { return Memory::storage() };
        let builder = (self.set_up)(external.builder()).public_url(public_url());
        let corner = TestPrefix::of(&Storage::new(builder.build().unwrap()));
        let storage = corner.storage();
        self.prefixes.lock().unwrap().push(corner);
        storage
    }

    fn rejects_key(&self, key: &Key) -> bool {
        // Garage stores keys in LMDB, which limits their length.
        let is_garage = self.external.is_some_and(|external| external.quirks() == "garage");
        let longest = if is_garage { 479 } else { MAX_KEY_BYTES };
        key.as_str().len() + TestPrefix::PREFIX_LEN > longest
    }

    fn skip_reason(&self, case: &str) -> Option<&str> {
        match self.external {
            None => Some(known_failures::NO_SERVER),
            Some(external) => {
                known_failures::find(known_failures::of_quirks(external.quirks()), case)
            }
        }
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        self.external.is_none()
    }

    async fn broken_backend(&self) -> Option<Storage> {
        let builder = (self.set_up)(self.external?.builder());
        Some(Storage::new(builder.endpoint(closed_port()).build().unwrap()))
    }

    fn max_body_memory(&self) -> u64 {
        MEMORY_LIMIT
    }

    fn secrets(&self) -> Vec<String> {
        self.external.map(|external| external.secret_access_key().to_owned()).into_iter().collect()
    }
}

/// The smallest parts, so that the objects of the tests have many parts.
fn in_small_parts(builder: S3Builder) -> S3Builder {
    builder.part_size(5 * MIB).concurrency(4)
}

storage_testkit::conformance!(in_process, InProcess::new(|builder| builder));
// All options at once, because the suite takes long.
storage_testkit::conformance!(
    in_process_in_small_parts_below_a_prefix,
    InProcess {
        prefix: Some(PREFIX),
        break_it: |builder| builder.endpoint(closed_port()),
        ..InProcess::new(|builder| in_small_parts(builder).checksum(ChecksumMode::Md5))
    }
);
storage_testkit::conformance!(external, ExternalServer::new(|builder| builder));
storage_testkit::conformance!(external_in_small_parts, ExternalServer::new(in_small_parts));

#[test]
fn every_excused_case_exists() {
    let known: Vec<_> = storage_testkit::cases().iter().map(storage_testkit::Case::name).collect();
    let unknown: Vec<_> = known_failures::all().filter(|case| !known.contains(case)).collect();
    assert!(unknown.is_empty(), "no case has these names: {unknown:?}");
}
