//! [`Scene`]: a scripted mirror, an origin that counts calls and fails as planned, and the driver.

use std::time::Duration;

use bytes::Bytes;
use storage_core::{ErrorKind, Memory, ObjectMeta, Operation, Result, Storage};
use storage_http_cache::{HttpCache, HttpCacheBuilder};
use storage_testkit::faults::Faults;
use storage_testkit::http::{Peer, Request, Response};
use url::Url;

pub(crate) const TOKEN: &str = "canary-token-of-the-tests";
pub(crate) const KEY: &str = "episodes/one.mp3";
/// Larger than the bodies that `open` reads completely.
pub(crate) const LARGE: usize = 1_000_000;
/// A timeout that a test waits for.
pub(crate) const BRIEF: Duration = Duration::from_secs(5);
/// A timeout that no test reaches, unless it advances its clock.
pub(crate) const GENEROUS: Duration = Duration::from_secs(120);

pub(crate) struct Scene {
    pub(crate) mirror: Peer,
    /// Origin itself, beside the driver.
    pub(crate) origin: Storage,
    /// The calls of the driver to origin, and their faults.
    pub(crate) faults: Faults,
    pub(crate) cache: HttpCache,
    /// The driver.
    pub(crate) storage: Storage,
}

impl Scene {
    /// Creates a scene with a scripted mirror.
    pub(crate) fn new(script: impl FnMut(&Request) -> Response + Send + 'static) -> Self {
        Self::with(|builder| builder, script)
    }

    /// Creates a scene with other options.
    pub(crate) fn with(
        set_up: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder,
        script: impl FnMut(&Request) -> Response + Send + 'static,
    ) -> Self {
        let mirror = Peer::start(script);
        Self::at(vec![mirror.url()], mirror, Memory::storage(), set_up)
    }

    pub(crate) fn at(
        mirrors: Vec<Url>,
        mirror: Peer,
        origin: Storage,
        set_up: impl FnOnce(HttpCacheBuilder) -> HttpCacheBuilder,
    ) -> Self {
        let faults = Faults::new();
        let seen = origin.layer(|inner| faults.layer(inner));
        let builder = HttpCache::builder(mirrors, seen)
            .token(TOKEN)
            .header_timeout(GENEROUS)
            .idle_timeout(GENEROUS);
        let cache = set_up(builder).build().unwrap();
        Self { mirror, origin, faults, storage: Storage::new(cache.clone()), cache }
    }

    /// Saves an object at origin, not through the driver.
    pub(crate) async fn object(&self, key: &str, body: impl Into<Bytes>) -> ObjectMeta {
        self.origin.save(key, body.into()).content_type("a/b").await.unwrap()
    }

    /// Reads the whole object through the driver.
    pub(crate) async fn read(&self, key: &str) -> Result<Bytes> {
        self.storage.open(key).await?.bytes().await
    }

    /// Returns how often the driver opened an object at origin.
    pub(crate) fn opened_at_origin(&self) -> usize {
        self.faults.calls(Operation::Open)
    }

    /// Awaits a call to which the mirror does not respond: its timeout passes once the mirror has
    /// got `count` requests that begin with `start`.
    pub(crate) async fn timed_out<T>(
        &self,
        start: &str,
        count: usize,
        call: impl Future<Output = T>,
    ) -> T {
        let passes = async {
            self.mirror.until_requested(start, count).await;
            later(GENEROUS).await;
        };
        tokio::join!(call, passes).0
    }

    pub(crate) fn state(&self) -> &'static str {
        self.cache.status().mirrors[0].state.as_str()
    }
}

/// Bytes without repeated pieces.
pub(crate) fn pattern(seed: u8, len: usize) -> Bytes {
    let bytes =
        (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8 ^ seed);
    bytes.collect()
}

/// Advances the test's clock. The timeouts of tasks that wait for a socket pass.
pub(crate) async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Returns the response of an anystorage mirror that has the object.
pub(crate) fn cached(meta: &ObjectMeta, body: impl Into<Bytes>) -> Response {
    foreign_object(&meta.etag.as_ref().unwrap().to_string(), body)
        .header("cache-status", "anystorage; hit")
}

/// Returns the response of a mirror that makes its own ETags.
pub(crate) fn foreign_object(etag: &str, body: impl Into<Bytes>) -> Response {
    Response::ok(body).header("etag", etag).header("content-type", "a/b")
}

/// Returns the response to a verification.
pub(crate) fn verdict(available: bool) -> Response {
    json(&format!(
        r#"{{"available": {available}, "file": "x", "error": false, "error_msg": null}}"#
    ))
}

pub(crate) fn json(text: &str) -> Response {
    Response::ok(text.to_owned()).header("content-type", "application/json")
}

/// Confirms purges and leaves other requests to the script.
pub(crate) fn purging(
    mut script: impl FnMut(&Request) -> Response + Send + 'static,
) -> impl FnMut(&Request) -> Response + Send + 'static {
    move |request| if request.method == "POST" { Response::new(204) } else { script(request) }
}

#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(differs, None, "the position of the first difference");
}

#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: ErrorKind) -> storage_core::Error {
    match result {
        Ok(_) => panic!("the call succeeded instead of failing with {kind}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error
        }
    }
}
