//! What responses read: a version of the cache, or origin itself.

use std::sync::{Arc, Mutex, PoisonError};

use storage_core::{Key, Object, ObjectMeta, OpenOptions, ResponseMeta, Result, Storage};
use storage_serve::internal::Source;

use crate::engine::{Engine, Version};

/// A version that the engine has found.
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

/// Origin, for an object that is not kept. Remembers how old the last response was.
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

    fn remember(&self, meta: &ObjectMeta) {
        *self.response.lock().unwrap_or_else(PoisonError::into_inner) = meta.response;
    }
}

impl Source for OriginSource {
    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.origin.stat(key).await?;
        self.remember(&meta);
        Ok(meta)
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let object = Source::open(&self.origin, key, options).await?;
        self.remember(object.meta());
        Ok(object)
    }
}
