//! `delete` and `delete_many`: delete at origin, then purge the keys at each mirror.

use futures_util::{StreamExt, stream};
use storage_core::{Key, Result};

use crate::invalidation::{Invalidation, outcome_of_error};
use crate::origin_memo::WriteOutcome;
use crate::shared::Shared;

/// How many keys of one `delete_many` are purged at the same time.
const CONCURRENT_PURGES: usize = 16;

pub(crate) async fn delete(cache: &Shared, key: &Key) -> Result<()> {
    let invalidation = Invalidation::begin(cache, key);
    let deleted = cache.origin.delete(key).await;
    invalidation.end(outcome(&deleted)).await;
    deleted
}

pub(crate) async fn delete_many(cache: &Shared, keys: &[Key]) -> Vec<Result<()>> {
    let invalidations: Vec<_> = keys.iter().map(|key| Invalidation::begin(cache, key)).collect();
    let results = cache.origin.delete_many(keys).await;
    // If origin returns too few results, the remaining invalidations are dropped, which counts as
    // an unknown outcome.
    let ended: Vec<_> = invalidations
        .into_iter()
        .zip(&results)
        .map(|(invalidation, result)| invalidation.end(outcome(result)))
        .collect();
    stream::iter(ended)
        .buffer_unordered(CONCURRENT_PURGES)
        .for_each(|()| std::future::ready(()))
        .await;
    results
}

fn outcome(deleted: &Result<()>) -> WriteOutcome {
    deleted.as_ref().map_or_else(outcome_of_error, |()| WriteOutcome::Absent)
}
