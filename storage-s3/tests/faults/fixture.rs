//! [`Fixture`]: a bucket of the server in this process, as it is and behind a proxy; and what the tests put into it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Error, ErrorKind, Payload, Result, Storage};
use storage_s3::{ChecksumMode, S3Builder};

use crate::common::server::{Bucket, Server};
use crate::fault_proxy::{Front, Proxy};

/// As small as a part may be.
pub(crate) const PART: u64 = 5 * 1024 * 1024;

/// How often the driver asks for one thing at most: once, and five times more.
pub(crate) const ATTEMPTS: usize = 6;

/// A bucket, as it is and behind a proxy. To make a driver takes its time, so that the cases of a
/// test share both.
pub(crate) struct SharedFixture {
    truth: Storage,
    storage: Storage,
    front: Arc<Front>,
    count: AtomicUsize,
    _bucket: Bucket,
}

/// A part of a bucket that is a case's own.
pub(crate) struct Fixture {
    pub(crate) proxy: Proxy,
    /// Behind the proxy.
    pub(crate) storage: Storage,
    /// What is really there.
    pub(crate) truth: Storage,
    _ground: Arc<SharedFixture>,
}

impl SharedFixture {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(set_up: impl FnOnce(S3Builder) -> S3Builder) -> Arc<Self> {
        let bucket = Server::get().bucket();
        let front = Front::before_s3s_fs(&Server::get().endpoint());
        let builder = bucket.builder().part_size(PART).endpoint(front.endpoint());
        let storage = Storage::new(set_up(builder).build().unwrap());
        // Without checksums, since the server keeps an old object's when an upload replaces it.
        let truth = Storage::new(bucket.builder().checksum(ChecksumMode::None).build().unwrap());
        Arc::new(Self { truth, storage, front, count: AtomicUsize::new(0), _bucket: bucket })
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::on(&SharedFixture::new())
    }

    pub(crate) fn with(set_up: impl FnOnce(S3Builder) -> S3Builder) -> Self {
        Self::on(&SharedFixture::with(set_up))
    }

    pub(crate) fn on(shared: &Arc<SharedFixture>) -> Self {
        // None is the beginning of another.
        let prefix = format!("fixture-{:04}", shared.count.fetch_add(1, Ordering::SeqCst));
        let proxy = Proxy::below(&shared.front, &prefix);
        let storage = shared.storage.prefixed(&prefix).unwrap();
        let truth = shared.truth.prefixed(&prefix).unwrap();
        Self { proxy, storage, truth, _ground: Arc::clone(shared) }
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
pub(crate) fn two_parts() -> Bytes {
    static BYTES: LazyLock<Bytes> = LazyLock::new(|| pattern(PART as usize + 1_000));
    BYTES.clone()
}

/// A payload that comes in chunks, and whose size nobody knows.
pub(crate) fn streaming(bytes: &Bytes) -> Payload {
    const CHUNK: usize = 64 * 1024;
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(CHUNK);
    let chunks: Vec<_> = starts
        .map(|start| Ok::<_, Error>(bytes.slice(start..bytes.len().min(start + CHUNK))))
        .collect();
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
pub(crate) async fn within_timeout<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .unwrap_or_else(|_| panic!("it did not come to an end"))
}

/// Turns this test's clock on: its timers go off, those of the proxy do not. What is waited for
/// takes place in between, since the clock goes on as usual afterwards.
pub(crate) async fn advance_clock(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
