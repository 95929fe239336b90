//! Multipart uploads: at origin. Completion removes the object from the cache.

use storage_core::{
    CompleteOptions, Key, Multipart, ObjectMeta, Result, UploadId, async_trait, forward_multipart,
};

use super::directory::{Directory, is_certain};
use super::driver::Cache;

#[async_trait]
impl Multipart for Cache {
    // Nothing is visible before completion, so the cache may keep the present object until then.
    forward_multipart! {
        to self.0.origin: limits, begin, put_part, parts, abort, uploads, part_url
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let origin = self.0.origin.multipart()?;
        let write = Directory::begin_write(&self.0.directory, vec![key.clone()]).await;
        let completed = origin.complete(key, id, options).await;
        write.end(is_certain(&completed)).await;
        completed
    }
}
