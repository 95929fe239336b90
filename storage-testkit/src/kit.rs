//! [`Kit`]: the storages of a case, and helpers for assertions.

use std::sync::Arc;

use bytes::Bytes;
use storage_core::{Entry, ErrorKind, Key, ObjectMeta, Payload, Result, Storage};

use crate::harness::{Fixture, Harness};

/// The storage under test, a storage to fill it through, and the harness.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) harness: Arc<dyn Harness>,
    /// The storage under test.
    pub(crate) storage: Storage,
    /// The storage through which cases save what they read.
    pub(crate) seed: Storage,
}

impl Kit {
    pub(crate) fn new(harness: Arc<dyn Harness>, fixture: Fixture) -> Self {
        Self { harness, storage: fixture.storage, seed: fixture.seed }
    }

    /// Returns the body of an object in the storage under test.
    pub(crate) async fn read(&self, key: &str) -> Result<Bytes> {
        self.storage.open(key).await?.bytes().await
    }

    /// Saves an object whose key the backend may refuse. Returns `None` if the backend refuses it
    /// and the harness permits that. Asserts that the key does not exist then.
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
            ErrorKind::InvalidKey => self.harness.rejects_key(&Key::new(key)?),
            ErrorKind::Conflict => self.harness.is_tree(),
            _ => false,
        };
        if !announced {
            return Err(refusal);
        }
        match self.storage.exists(key).await {
            Ok(there) => assert!(!there, "{key:?} was refused, but it exists"),
            // Reads of such a key may fail as well.
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}"),
        }
        Ok(None)
    }

    /// Saves a small object under each key that the backend can store beside the others. Returns
    /// these keys in byte order.
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

    /// Returns the names in a listing, in its order.
    pub(crate) async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(names_of(self.storage.list(prefix).entries().collect().await?))
    }

    /// Returns the names in a listing of one level.
    pub(crate) async fn level(&self, prefix: &str, delimiter: &str) -> Result<Vec<String>> {
        Ok(names_of(self.storage.list(prefix).delimiter(delimiter).entries().collect().await?))
    }

    /// Asserts that the storage contains these objects and no others. If the driver does not list,
    /// asserts only that they exist.
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

/// Asserts that a call failed with this kind, and returns the error.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: ErrorKind) -> storage_core::Error {
    match result {
        Ok(_) => panic!("the call succeeded, but it should have failed with {kind}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error
        }
    }
}
