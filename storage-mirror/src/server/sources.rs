//! The sources of responses: a cached version, or origin itself.

use std::sync::{Arc, Mutex, PoisonError};

use storage_core::{Key, Object, ObjectMeta, OpenOptions, ResponseMeta, Result, Storage};
use storage_serve::internal::Source;

use crate::engine::{Engine, Version};

/// A version that the engine found in the cache.
#[derive(Debug, Clone)]
pub(super) struct CachedSource {
    pub(super) engine: Engine,
    pub(super) version: Version,
}

impl Source for CachedSource {
    async fn stat(&self, _key: &Key) -> Result<ObjectMeta> {
        Ok(self.version.meta().clone())
    }

    async fn open(&self, _key: &Key, options: &OpenOptions) -> Result<Object> {
        self.engine.read(&self.version, options).await
    }
}

/// Origin, for an object that is not cached. Stores the age and the date of the last response.
#[derive(Debug, Clone)]
pub(super) struct OriginSource {
    origin: Storage,
    response: Arc<Mutex<Option<ResponseMeta>>>,
}

impl OriginSource {
    pub(super) fn new(origin: &Storage) -> Self {
        Self { origin: origin.clone(), response: Arc::default() }
    }

    /// Returns the age and the date of the last response, or `None` if origin is not an HTTP
    /// server.
    pub(super) fn response(&self) -> Option<ResponseMeta> {
        *self.response.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store_response(&self, meta: &ObjectMeta) {
        *self.response.lock().unwrap_or_else(PoisonError::into_inner) = meta.response;
    }
}

impl Source for OriginSource {
    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.origin.stat(key).await?;
        self.store_response(&meta);
        Ok(meta)
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = Source::open(&self.origin, key, options).await?;
        self.store_response(object.meta());
        Ok(object)
    }
}
