//! `save`: saves at origin, and removes the object from the cache.

use storage_core::{Key, ObjectMeta, Payload, Result, SaveOptions};

use super::directory::{Directory, is_certain};
use super::shared::Shared;

pub(super) async fn save(
    shared: &Shared,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    let write = Directory::begin_write(&shared.directory, vec![key.clone()]).await;
    let saved = shared.origin.save(key, payload, options).await;
    write.end(is_certain(&saved)).await;
    // With `SaveMode::UniqueName` the object has another key. The cache may still contain an older
    // object of it that another process has deleted.
    if let Ok(meta) = &saved
        && meta.key != *key
    {
        Directory::begin_write(&shared.directory, vec![meta.key.clone()]).await.end(true).await;
    }
    saved
}
