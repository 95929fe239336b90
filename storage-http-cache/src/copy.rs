//! `copy`: copies at origin, then purges the target at each mirror.

use storage_core::{CopyOptions, Key, Result};

use crate::invalidation::{Invalidation, outcome_of_error};
use crate::origin_memo::WriteOutcome;
use crate::shared::Shared;

pub(crate) async fn copy(
    cache: &Shared,
    from: &Key,
    to: &Key,
    options: &CopyOptions,
) -> Result<()> {
    let invalidation = Invalidation::begin(cache, to);
    let copied = cache.origin.copy(from, to, options).await;
    // A copy returns no metadata, so the state of the target is unknown.
    let outcome = copied.as_ref().map_or_else(outcome_of_error, |()| WriteOutcome::Unknown);
    invalidation.end(outcome).await;
    copied
}
