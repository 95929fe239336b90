//! `rename`: at origin, then every mirror purges both keys.

use futures_util::future::join;
use storage_core::{Key, RenameOptions, Result};

use crate::invalidation::Invalidation;
use crate::origin_memo::WriteOutcome;
use crate::shared::Shared;

pub(crate) async fn rename(
    cache: &Shared,
    from: &Key,
    to: &Key,
    options: &RenameOptions,
) -> Result<()> {
    let source = Invalidation::begin(cache, from);
    let target = Invalidation::begin(cache, to);
    let renamed = cache.origin.rename(from, to, options).await;
    // Origin may copy and delete, so that a rename that failed may have changed one of the keys,
    // and the source of one that succeeded may have been saved again.
    join(source.end(WriteOutcome::Unknown), target.end(WriteOutcome::Unknown)).await;
    renamed
}
