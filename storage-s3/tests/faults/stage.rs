//! [`Stage`]: a bucket of the server in this process, as it is and behind a proxy; and what the tests put into it.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Error, ErrorKind, Payload, Result, Storage};
use storage_s3::{ChecksumMode, S3, S3Builder};

use crate::common::server::{Bucket, Server};
use crate::fault_proxy::Proxy;

/// As small as a part may be.
pub(crate) const PART: u64 = 5 * 1024 * 1024;

/// How often the driver asks for one thing at most: once, and five times more.
pub(crate) const ATTEMPTS: usize = 6;

/// A bucket of a test's own.
pub(crate) struct Stage {
    pub(crate) proxy: Proxy,
    /// Behind the proxy.
    pub(crate) storage: Storage,
    pub(crate) driver: S3,
    /// The same bucket without the proxy: what is really there.
    pub(crate) truth: Storage,
    _bucket: Bucket,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(set_up: impl FnOnce(S3Builder) -> S3Builder) -> Self {
        let bucket = Server::get().bucket();
        let proxy = Proxy::before(&Server::get().endpoint());
        let driver = set_up(bucket.builder().part_size(PART)).endpoint(proxy.endpoint()).build().unwrap();
        let storage = Storage::new(driver.clone());
        // Without checksums, since the server keeps an old object's when an upload replaces it.
        let truth = Storage::new(bucket.builder().checksum(ChecksumMode::None).build().unwrap());
        Self { proxy, storage, driver, truth, _bucket: bucket }
    }

    /// What is really there; `None` for nothing.
    pub(crate) async fn found(&self, key: &str) -> Option<Bytes> {
        match self.truth.open(key).await {
            Ok(object) => Some(object.bytes().await.unwrap()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Bytes of which no two pieces are alike.
pub(crate) fn pattern(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// What needs an upload of two parts.
pub(crate) fn part_and_a_bit() -> Bytes {
    static BYTES: LazyLock<Bytes> = LazyLock::new(|| pattern(PART as usize + 1_000));
    BYTES.clone()
}

/// A payload that comes in chunks, and whose size nobody knows.
pub(crate) fn streaming(bytes: &Bytes) -> Payload {
    const CHUNK: usize = 64 * 1024;
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(CHUNK);
    let chunks: Vec<_> =
        starts.map(|start| Ok::<_, Error>(bytes.slice(start..bytes.len().min(start + CHUNK)))).collect();
    Payload::from_stream(stream::iter(chunks))
}

/// Asserts that bytes are these, without showing megabytes of them.
#[track_caller]
pub(crate) fn assert_bytes(found: &[u8], expected: &[u8]) {
    if found != expected {
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        panic!(
            "{} bytes, of which number {differs:?} is the first other one, in place of {}",
            found.len(),
            expected.len()
        );
    }
}

/// All of an object.
pub(crate) async fn read(storage: &Storage, key: &str) -> Result<Bytes> {
    storage.open(key).await?.bytes().await
}

/// Waits for what must come to an end.
pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.unwrap_or_else(|_| panic!("it did not come to an end"))
}

/// Turns this test's clock on: its timers go off, those of the proxy do not. What is waited for takes place in between,
/// since the clock goes on as usual afterwards.
pub(crate) async fn turn_clock_on(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
