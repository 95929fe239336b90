//! [`Source`]: where the objects of answers come from.

use std::future::Future;

use storage_core::{Key, Object, ObjectMeta, OpenOptions, Result, Storage};

/// Where the objects of answers come from: a storage, or whoever keeps copies of one. Cheap to
/// clone.
///
/// Both verbs are those of [`Driver`](storage_core::Driver), with its guarantees; the conditions of
/// `options` are evaluated by the source.
pub trait Source: Clone + Send + Sync + 'static {
    /// What is known of an object.
    fn stat(&self, key: &Key) -> impl Future<Output = Result<ObjectMeta>> + Send;

    /// An object, or a range of it, on conditions. One of unknown size, whole whatever the range,
    /// if the options allow it.
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
