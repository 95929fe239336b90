//! `stat` and `exists`: read from origin, and record the result in the memo.

use storage_core::{ErrorKind, Key, ObjectMeta, Result};

use crate::origin_memo::in_whole_seconds;
use crate::shared::Shared;

pub(crate) async fn stat(cache: &Shared, key: &Key) -> Result<ObjectMeta> {
    let ticket = cache.memo.ticket();
    let stat = cache.origin.stat(key).await.map(in_whole_seconds);
    match &stat {
        Ok(meta) => cache.memo.record_present(meta, ticket),
        Err(error) if error.kind() == ErrorKind::NotFound => cache.memo.record_absent(key, ticket),
        Err(_) => {}
    }
    stat
}

pub(crate) async fn exists(cache: &Shared, key: &Key) -> Result<bool> {
    let ticket = cache.memo.ticket();
    let exists = cache.origin.exists(key).await?;
    if exists {
        cache.memo.record_existence(key);
    } else {
        cache.memo.record_absent(key, ticket);
    }
    Ok(exists)
}
