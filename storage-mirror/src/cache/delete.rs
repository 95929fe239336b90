//! `delete` and `delete_many`: delete at origin, and remove the objects from the cache.

use storage_core::{Key, Result};

use super::directory::{Directory, is_certain};
use super::shared::Shared;

pub(super) async fn delete(shared: &Shared, key: &Key) -> Result<()> {
    let write = Directory::begin_write(&shared.directory, vec![key.clone()]).await;
    let deleted = shared.origin.delete(key).await;
    write.end(is_certain(&deleted)).await;
    deleted
}

pub(super) async fn delete_many(shared: &Shared, keys: &[Key]) -> Vec<Result<()>> {
    let write = Directory::begin_write(&shared.directory, keys.to_vec()).await;
    let deleted = shared.origin.delete_many(keys).await;
    let are_all_deleted = deleted.len() == keys.len() && deleted.iter().all(Result::is_ok);
    write.end(are_all_deleted).await;
    deleted
}
