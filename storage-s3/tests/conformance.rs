//! The conformance suite on real servers: one in this process, and one that the environment names.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::sync::Mutex;

use common::external::{Corner, External};
use common::faults;
use common::server::{self, Bucket, Server};
use storage_core::{Key, MAX_KEY_BYTES, Memory, Storage, async_trait};
use storage_s3::{ChecksumMode, S3Builder};
use storage_testkit::Harness;
use storage_testkit::http::closed_port;

const PREFIX: &str = "some/prefix";
const MIB: u64 = 1024 * 1024;
/// Eight parts of 8 MiB on their way, one that is gathered, and what is read of the next.
const MOST_HELD: u64 = 80 * MIB;

/// Where links lead that are not signed. Nobody follows them.
fn public_url() -> storage_core::LinkBase {
    "https://media.example.com/files".parse().unwrap()
}

/// Storages on the server in this process: a bucket each, which lives as long as the harness.
struct InProcess {
    set_up: fn(S3Builder) -> S3Builder,
    /// A way to break what was set up.
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
        faults::find(faults::S3S_FS, case)
    }

    async fn broken_backend(&self) -> Option<Storage> {
        Some(self.storage_on((self.break_it)(self.bucket())))
    }

    fn max_body_memory(&self) -> u64 {
        // The server, and what it holds, is in the same process.
        2 * MOST_HELD
    }

    fn secrets(&self) -> Vec<String> {
        vec![server::SECRET_ACCESS_KEY.to_owned()]
    }
}

/// Storages on the server that the environment names: a prefix each, which is tidied up when the
/// harness ends.
struct Beside {
    set_up: fn(S3Builder) -> S3Builder,
    external: Option<&'static External>,
    corners: Mutex<Vec<Corner>>,
}

impl Beside {
    fn new(set_up: fn(S3Builder) -> S3Builder) -> Self {
        Self { set_up, external: External::get(), corners: Mutex::default() }
    }
}

#[async_trait]
impl Harness for Beside {
    async fn storage(&self) -> Storage {
        // Every case is excused then, but the suite wants to see a storage.
        let Some(external) = self.external else { return Memory::storage() };
        let builder = (self.set_up)(external.builder()).public_url(public_url());
        let corner = Corner::of(&Storage::new(builder.build().unwrap()));
        let storage = corner.storage();
        self.corners.lock().unwrap().push(corner);
        storage
    }

    fn rejects_key(&self, key: &Key) -> bool {
        // Garage keeps keys in LMDB, which limits them.
        let is_garage = self.external.is_some_and(|external| external.quirks() == "garage");
        let longest = if is_garage { 479 } else { MAX_KEY_BYTES };
        key.as_str().len() + Corner::PREFIX_LEN > longest
    }

    fn skip_reason(&self, case: &str) -> Option<&str> {
        match self.external {
            None => Some(faults::NO_SERVER),
            Some(external) => faults::find(faults::of_quirks(external.quirks()), case),
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
        MOST_HELD
    }

    fn secrets(&self) -> Vec<String> {
        self.external.map(|external| external.secret_access_key().to_owned()).into_iter().collect()
    }
}

/// As small as parts may be, so that what is large for a test is many parts.
fn in_small_parts(builder: S3Builder) -> S3Builder {
    builder.part_size(5 * MIB).concurrency(4)
}

storage_testkit::conformance!(in_process, InProcess::new(|builder| builder));
// All that differs at once, since the suite takes its time.
storage_testkit::conformance!(
    in_process_in_small_parts_below_a_prefix,
    InProcess {
        prefix: Some(PREFIX),
        break_it: |builder| builder.endpoint(closed_port()),
        ..InProcess::new(|builder| in_small_parts(builder).checksum(ChecksumMode::Md5))
    }
);
storage_testkit::conformance!(external, Beside::new(|builder| builder));
storage_testkit::conformance!(external_in_small_parts, Beside::new(in_small_parts));

#[test]
fn what_is_excused_are_cases_that_there_are() {
    let known: Vec<_> = storage_testkit::cases().iter().map(storage_testkit::Case::name).collect();
    let unknown: Vec<_> = faults::all().filter(|case| !known.contains(case)).collect();
    assert!(unknown.is_empty(), "no case has these names: {unknown:?}");
}
