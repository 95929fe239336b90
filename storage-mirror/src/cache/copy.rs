//! `copy`: copies at origin, and removes the target from the cache.

use storage_core::{CopyOptions, Key, Result};

use super::directory::{Directory, is_certain};
use super::shared::Shared;

pub(super) async fn copy(
    shared: &Shared,
    from: &Key,
    to: &Key,
    options: &CopyOptions,
) -> Result<()> {
    let write = Directory::begin_write(&shared.directory, vec![to.clone()]).await;
    let copied = shared.origin.copy(from, to, options).await;
    write.end(is_certain(&copied)).await;
    copied
}
