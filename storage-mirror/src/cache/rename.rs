//! `rename`: at origin.

use storage_core::{Key, RenameOptions, Result};

use super::directory::{Directory, is_certain};
use super::shared::Shared;

pub(super) async fn rename(
    shared: &Shared,
    from: &Key,
    to: &Key,
    options: &RenameOptions,
) -> Result<()> {
    let write = Directory::begin_write(&shared.directory, vec![from.clone(), to.clone()]).await;
    let renamed = shared.origin.rename(from, to, options).await;
    write.end(is_certain(&renamed)).await;
    renamed
}
