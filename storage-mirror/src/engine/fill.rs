//! [`Engine::fill`]: fetches an object ahead of requests, and waits until it is stored.

use storage_core::{ErrorKind, Key};

use super::lookup::{Engine, Lookup};
use super::version::Version;

/// The result of filling the cache with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FillOutcome {
    /// The object is in the cache.
    Cached,
    /// Origin has the object, and it is not stored, for this reason.
    NotCached(&'static str),
    /// Origin has no such object.
    Missing,
    /// Origin failed.
    Failed(ErrorKind),
}

impl Engine {
    /// Fetches an object unless it is in the store and fresh, and waits until it is stored.
    /// Dropping the future does not stop the fetch.
    pub(crate) async fn fill(&self, key: &Key) -> FillOutcome {
        self.forget_missing(key);
        match self.find(key).await {
            Lookup::Version(Version::Cached(_), _) => FillOutcome::Cached,
            Lookup::Version(Version::Arriving(progress), _) => {
                // No object has a byte at this position, so this waits for the end of the body.
                if let Err(error) = progress.reaches(u64::MAX).await {
                    return FillOutcome::Failed(error.kind());
                }
                // The fetch ends when the store has the object, after its last byte.
                if let Some(fetch) = self.shared.fetches.get(key) {
                    fetch.ended().await;
                }
                match self.shared.store.peek(key.as_str()) {
                    Some(_) => FillOutcome::Cached,
                    None => {
                        FillOutcome::NotCached("the fetch failed, or the object was removed again")
                    }
                }
            }
            Lookup::Pass(reason) => FillOutcome::NotCached(reason),
            Lookup::Missing { .. } => FillOutcome::Missing,
            Lookup::Failed { error, .. } => FillOutcome::Failed(error.kind()),
        }
    }
}
