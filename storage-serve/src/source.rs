//! [`Source`]: where the objects of responses come from.

use std::future::Future;

use storage_core::{Key, Object, ObjectMeta, OpenOptions, Result, Storage};

/// Where the objects of responses come from: a storage, or a cache of one. Cheap to clone.
///
/// Both verbs have the guarantees of [`Driver`](storage_core::Driver). The source evaluates the
/// conditions of `options`.
pub trait Source: Clone + Send + Sync + 'static {
    /// Returns the metadata of an object.
    fn stat(&self, key: &Key) -> impl Future<Output = Result<ObjectMeta>> + Send;

    /// Opens an object, or a range of it. Opens the whole object regardless of the range if its
    /// size is unknown and the options allow an unknown size.
    fn open(&self, key: &Key, options: &OpenOptions)
    -> impl Future<Output = Result<Object>> + Send;
}

impl Source for Storage {
    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        Self::stat(self, key).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        self.open_with(key, options.clone()).await
    }
}
