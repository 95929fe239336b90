//! [`Scene`]: a scripted mirror, an origin that counts and fails as planned, and the driver on both.

use std::time::Duration;

use bytes::Bytes;
use storage_core::{ErrorKind, Memory, ObjectMeta, Operation, Result, Storage};
use storage_http_cache::{HttpCache, HttpCacheBuilder};
use storage_testkit::faults::Faults;
use storage_testkit::http::{Peer, Request, Response};
use url::Url;

pub(crate) const TOKEN: &str = "canary-token-of-the-tests";
pub(crate) const KEY: &str = "episodes/one.mp3";
/// Larger than what is read whole before it is handed on.
pub(crate) const LARGE: usize = 1_000_000;
/// For those who wait for it on purpose: short, but longer than anything takes on a busy machine.
pub(crate) const BRIEF: Duration = Duration::from_secs(1);
/// Long, for those who must not meet it.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    pub(crate) mirror: Peer,
    /// Origin itself, beside the driver.
    pub(crate) origin: Storage,
    /// What the driver asks of origin, and what goes wrong with it.
    pub(crate) faults: Faults,
    pub(crate) cache: HttpCache,
    /// The driver.
    pub(crate) storage: Storage,
}

impl Scene {
    /// With a mirror that does this.
    pub(crate) fn new(script: impl FnMut(&Request) -> Response + Send + 'static) -> Self {
        Self::with(|builder| builder, script)
    }

    /// With other options.
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
            .header_timeout(PATIENT)
            .idle_timeout(PATIENT);
        let cache = set_up(builder).build().unwrap();
        Self { mirror, origin, faults, storage: Storage::new(cache.clone()), cache }
    }

    /// An object at origin that the driver knows nothing of.
    pub(crate) async fn object(&self, key: &str, body: impl Into<Bytes>) -> ObjectMeta {
        self.origin.save(key, body.into()).content_type("a/b").await.unwrap()
    }

    /// The whole object, as the driver reads it.
    pub(crate) async fn read(&self, key: &str) -> Result<Bytes> {
        self.storage.open(key).await?.bytes().await
    }

    /// How often the driver opened something at origin.
    pub(crate) fn opened_at_origin(&self) -> usize {
        self.faults.calls(Operation::Open)
    }

    pub(crate) fn state(&self) -> &'static str {
        self.cache.status().mirrors[0].state.as_str()
    }
}

/// Bytes of which no two pieces are alike.
pub(crate) fn pattern(seed: u8, len: usize) -> Bytes {
    let bytes =
        (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 37) as u8 ^ seed);
    bytes.collect()
}

/// Turns the test's clock on. Nobody may wait for a socket meanwhile.
pub(crate) async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// The response of an anystorage mirror that holds the object.
pub(crate) fn cached(meta: &ObjectMeta, body: impl Into<Bytes>) -> Response {
    foreign_object(&meta.etag.as_ref().unwrap().to_string(), body)
        .header("cache-status", "anystorage; hit")
}

/// The response of a mirror that has ETags of its own.
pub(crate) fn foreign_object(etag: &str, body: impl Into<Bytes>) -> Response {
    Response::ok(body).header("etag", etag).header("content-type", "a/b")
}

/// The response to a verification.
pub(crate) fn verdict(available: bool) -> Response {
    json(&format!(
        r#"{{"available": {available}, "file": "x", "error": false, "error_msg": null}}"#
    ))
}

pub(crate) fn json(text: &str) -> Response {
    Response::ok(text.to_owned()).header("content-type", "application/json")
}

/// Responds to purges and leaves the rest to the script.
pub(crate) fn purging(
    mut script: impl FnMut(&Request) -> Response + Send + 'static,
) -> impl FnMut(&Request) -> Response + Send + 'static {
    move |asked| if asked.method == "POST" { Response::new(204) } else { script(asked) }
}

#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(differs, None, "the first byte that is another");
}

#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: ErrorKind) -> storage_core::Error {
    match result {
        Ok(_) => panic!("it succeeded, where {kind} was due"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error
        }
    }
}
