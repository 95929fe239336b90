//! [`Kit`]: what a case has at hand.

use std::sync::Arc;

use bytes::Bytes;
use storage_core::{Entry, ErrorKind, Key, ObjectMeta, Payload, Result, Storage};

use crate::harness::{Fixture, Harness};

/// A storage under test, a way to fill it, and what the harness says of it.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) harness: Arc<dyn Harness>,
    /// The storage under test.
    pub(crate) storage: Storage,
    /// Where cases that only read put what they read.
    pub(crate) seed: Storage,
}

impl Kit {
    pub(crate) fn new(harness: Arc<dyn Harness>, fixture: Fixture) -> Self {
        Self { harness, storage: fixture.storage, seed: fixture.seed }
    }

    /// The whole body of an object, as the storage under test tells it.
    pub(crate) async fn read(&self, key: &str) -> Result<Bytes> {
        self.storage.open(key).await?.bytes().await
    }

    /// Saves an object whose key the backend may refuse. `None` if it was refused, as the harness
    /// announced; then the key leads nowhere.
    pub(crate) async fn try_seed(
        &self,
        key: &str,
        payload: impl Into<Payload>,
    ) -> Result<Option<ObjectMeta>> {
        let refusal = match self.seed.save(key, payload).await {
            Ok(meta) => return Ok(Some(meta)),
            Err(error) => error,
        };
        let announced = match refusal.kind() {
            ErrorKind::InvalidKey => self.harness.refuses(&Key::new(key)?),
            ErrorKind::Conflict => self.harness.is_tree(),
            _ => false,
        };
        if !announced {
            return Err(refusal);
        }
        match self.storage.exists(key).await {
            Ok(there) => assert!(!there, "{key:?} was refused, but it exists"),
            // A key that cannot be held may also be refused when it is asked for.
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}"),
        }
        Ok(None)
    }

    /// Saves small objects under those of the keys that the backend can hold together, and tells
    /// which, in byte order.
    pub(crate) async fn seed_keys(&self, keys: &[&str]) -> Result<Vec<String>> {
        let mut stored = Vec::new();
        for key in keys {
            if self.try_seed(key, Bytes::copy_from_slice(key.as_bytes())).await?.is_some() {
                stored.push((*key).to_owned());
            }
        }
        stored.sort_unstable();
        Ok(stored)
    }

    /// The names that a listing yields, in its order.
    pub(crate) async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(names_of(self.storage.list(prefix).entries().collect().await?))
    }

    /// The names that a listing of one level yields.
    pub(crate) async fn level(&self, prefix: &str, delimiter: &str) -> Result<Vec<String>> {
        Ok(names_of(self.storage.list(prefix).delimiter(delimiter).entries().collect().await?))
    }

    /// Asserts that these are all the objects there are: no debris, no loss. Where the driver does
    /// not list, the objects themselves are looked for.
    #[track_caller]
    pub(crate) fn holds_only<'a>(
        &'a self,
        keys: &'a [&'a str],
    ) -> impl Future<Output = Result<()>> + 'a {
        let place = std::panic::Location::caller();
        async move {
            if self.storage.info().capabilities.list {
                let mut expected = keys.to_vec();
                expected.sort_unstable();
                assert_eq!(self.names("").await?, expected, "objects at {place}");
            }
            for key in keys {
                assert!(self.storage.exists(*key).await?, "{key:?} is gone at {place}");
            }
            Ok(())
        }
    }
}

pub(crate) fn names_of(entries: Vec<Entry>) -> Vec<String> {
    entries.into_iter().map(|entry| entry.name().to_owned()).collect()
}

/// Asserts that a call failed in this way.
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
