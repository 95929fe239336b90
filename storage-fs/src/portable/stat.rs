//! `stat` and `exists`, and the check of a version for `if_match`.

use std::sync::Arc;

use storage_core::{ETag, Error, ErrorKind, Key, ObjectMeta, Result};

use super::metadata;
use super::shared::Shared;

pub(crate) async fn stat(shared: &Arc<Shared>, key: &Key) -> Result<ObjectMeta> {
    shared.root.check(key)?;
    let key = key.clone();
    shared.run(move |shared, _| stat_blocking(shared, &key)).await
}

pub(crate) async fn exists(shared: &Arc<Shared>, key: &Key) -> Result<bool> {
    shared.root.check(key)?;
    let key = key.clone();
    shared.run(move |shared, _| Ok(shared.root.lookup(&key)?.is_some_and(|it| it.is_file()))).await
}

/// Fails with `PreconditionFailed` unless the object exists and has the strong ETag `expected`.
pub(crate) fn check_version(shared: &Shared, key: &Key, expected: &ETag) -> Result<()> {
    let present = match stat_blocking(shared, key) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        present => present?.etag,
    };
    if present.is_some_and(|etag| etag.strong_eq(expected)) {
        return Ok(());
    }
    let message = format!("the object does not have the ETag {expected}");
    Err(Error::new(ErrorKind::PreconditionFailed, message))
}

fn stat_blocking(shared: &Shared, key: &Key) -> Result<ObjectMeta> {
    metadata::open_with_meta(shared, key).map(|(_, meta)| meta)
}
