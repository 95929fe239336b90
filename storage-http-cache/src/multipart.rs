//! Multipart uploads: at origin. After completion each mirror purges the key.

use storage_core::{
    CompleteOptions, Key, Multipart, ObjectMeta, Result, UploadId, async_trait, forward_multipart,
};

use crate::driver::HttpCache;
use crate::invalidation::{Invalidation, outcome_of_error};
use crate::origin_memo::{WriteOutcome, in_whole_seconds};

#[async_trait]
impl Multipart for HttpCache {
    // Nothing is visible before completion, so the mirrors may serve the present object until then.
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
        let invalidation = Invalidation::begin(&self.0, key);
        let completed = origin.complete(key, id, options).await.map(in_whole_seconds);
        invalidation
            .end(match &completed {
                Ok(meta) => WriteOutcome::Present(Box::new(meta.clone())),
                Err(error) => outcome_of_error(error),
            })
            .await;
        completed
    }
}
