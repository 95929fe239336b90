//! [`Fixture`]: a bucket of the server in this process, directly and behind a proxy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Error, ErrorKind, Payload, Result, Storage};
use storage_s3::{ChecksumMode, S3Builder};

use crate::common::server::{Bucket, Server};
use crate::fault_proxy::{Front, Proxy};

/// The smallest part that S3 accepts.
pub(crate) const PART: u64 = 5 * 1024 * 1024;

/// How often the driver sends one request: once, and up to five retries.
pub(crate) const ATTEMPTS: usize = 6;

/// A bucket, directly and behind a proxy. The cases of a test share it, because building a driver
/// takes time.
pub(crate) struct SharedFixture {
    truth: Storage,
    storage: Storage,
    front: Arc<Front>,
    count: AtomicUsize,
    _bucket: Bucket,
}

/// A prefix of the bucket for one case.
pub(crate) struct Fixture {
    pub(crate) proxy: Proxy,
    /// Uses the proxy.
    pub(crate) storage: Storage,
    /// Uses the server directly.
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
        // Without checksums, because the server keeps the checksum of the old object when an upload
        // replaces it.
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
        // No prefix is the beginning of another.
        let prefix = format!("fixture-{:04}", shared.count.fetch_add(1, Ordering::SeqCst));
        let proxy = Proxy::below(&shared.front, &prefix);
        let storage = shared.storage.prefixed(&prefix).unwrap();
        let truth = shared.truth.prefixed(&prefix).unwrap();
        Self { proxy, storage, truth, _ground: Arc::clone(shared) }
    }

    /// Returns the object that the server has, or `None`.
    pub(crate) async fn found(&self, key: &str) -> Option<Bytes> {
        match self.truth.open(key).await {
            Ok(object) => Some(object.bytes().await.unwrap()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Returns bytes without repetitions.
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

/// Returns the bytes of an object that needs an upload of two parts.
pub(crate) fn two_parts() -> Bytes {
    static BYTES: LazyLock<Bytes> = LazyLock::new(|| pattern(PART as usize + 1_000));
    BYTES.clone()
}

/// Returns a payload of several chunks and of unknown size.
pub(crate) fn streaming(bytes: &Bytes) -> Payload {
    const CHUNK: usize = 64 * 1024;
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(CHUNK);
    let chunks: Vec<_> = starts
        .map(|start| Ok::<_, Error>(bytes.slice(start..bytes.len().min(start + CHUNK))))
        .collect();
    Payload::from_stream(stream::iter(chunks))
}

/// Asserts that bytes are equal without printing megabytes of them.
#[track_caller]
pub(crate) fn assert_bytes(found: &[u8], expected: &[u8]) {
    if found != expected {
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        panic!(
            "{} bytes instead of {}, and the first difference is at {differs:?}",
            found.len(),
            expected.len()
        );
    }
}

/// Reads a whole object.
pub(crate) async fn read(storage: &Storage, key: &str) -> Result<Bytes> {
    storage.open(key).await?.bytes().await
}

/// Awaits a future that must complete.
pub(crate) async fn within_timeout<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .unwrap_or_else(|_| panic!("it did not end"))
}

/// Advances the clock of this test, which triggers its timers and not those of the proxy. The clock
/// runs normally afterwards.
pub(crate) async fn advance_clock(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
