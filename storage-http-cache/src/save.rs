//! `save`: saves to origin, then purges the key at each mirror.

use storage_core::{Key, ObjectMeta, Payload, Result, SaveOptions};

use crate::invalidation::{Invalidation, outcome_of_error};
use crate::origin_memo::{WriteOutcome, in_whole_seconds};
use crate::shared::Shared;

pub(crate) async fn save(
    cache: &Shared,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    let invalidation = Invalidation::begin(cache, key);
    let saved = cache.origin.save(key, payload, options).await.map(in_whole_seconds);
    let present = |meta: &ObjectMeta| WriteOutcome::Present(Box::new(meta.clone()));
    match &saved {
        Ok(meta) if meta.key == *key => invalidation.end(present(meta)).await,
        Ok(meta) => {
            // `unique_name` chose another key, whose absence a mirror may have cached.
            invalidation.end(WriteOutcome::Unchanged).await;
            Invalidation::begin(cache, &meta.key).end(present(meta)).await;
        }
        Err(error) => invalidation.end(outcome_of_error(error)).await,
    }
    saved
}
