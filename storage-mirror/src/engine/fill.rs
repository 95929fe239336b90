//! [`Engine::fill`]: fetches an object ahead of the requests for it, and waits for the end.

use storage_core::{ErrorKind, Key};

use super::lookup::{Engine, Lookup};
use super::version::Version;

/// What has come of filling the cache with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// The object is in the cache.
    Cached,
    /// Origin has the object, and it is not kept, for this reason.
    NotCached(&'static str),
    /// Origin has no such object.
    Missing,
    /// Origin failed.
    Failed(ErrorKind),
}

impl Engine {
    /// Fetches an object unless it is in the store and fresh, and waits until the store has all of
    /// it. If the future is dropped, the fetch goes on.
    pub(crate) async fn fill(&self, key: &Key) -> Filled {
        self.forget_missing(key);
        match self.find(key).await {
            Lookup::Version(Version::Cached(_), _) => Filled::Cached,
            Lookup::Version(Version::Arriving(progress), _) => {
                // No object has a byte at this position, so this waits for the end of the body.
                if let Err(error) = progress.reaches(u64::MAX).await {
                    return Filled::Failed(error.kind());
                }
                // The fetch goes on after its last byte, until the store has the object.
                if let Some(fetch) = self.shared.fetches.get(key) {
                    fetch.ended().await;
                }
                match self.shared.store.peek(key.as_str()) {
                    Some(_) => Filled::Cached,
                    None => Filled::NotCached("the fetch broke off, or the object has left again"),
                }
            }
            Lookup::Pass(reason) => Filled::NotCached(reason),
            Lookup::Missing { .. } => Filled::Missing,
            Lookup::Failed { error, .. } => Filled::Failed(error.kind()),
        }
    }
}
