//! Keeps an object of the destination in the backup directory before it is replaced.

use storage_core::{Error, ErrorKind, Key, ObjectEntry, Result, SaveOptions, Storage};

use crate::compare;
use crate::copy::copy;
use crate::merge::Pair;
use crate::retry::Retry;
use crate::sync::shared::Shared;

/// Copies the object that is about to be replaced into the backup directory. Returns `false` if it
/// is another version than the listed one.
pub(crate) async fn back_up(shared: &Shared, pair: &Pair) -> Result<bool> {
    let (Some(backup), Some(old)) = (&shared.backup, &pair.target) else { return Ok(true) };
    let to = shared.target.key(&format!("{backup}{}", pair.name()))?;
    let mut retry = Retry::default();
    loop {
        match back_up_once(shared, pair, old, &to).await {
            Ok(()) => return Ok(true),
            Err(error) if compare::is_changed(&error) => return Ok(false),
            Err(error) => {
                shared.wait(&mut retry, error.with_context("the backup failed")).await?;
            }
        }
    }
}

async fn back_up_once(shared: &Shared, pair: &Pair, old: &ObjectEntry, to: &Key) -> Result<()> {
    if shared.uploads.is_some() && is_copy_of_killed_worker(shared, pair, to).await? {
        return Ok(());
    }
    shared.requests(1).await;
    back_up_listed(shared.target.storage(), old, to).await
}

/// Returns whether a worker of the same job may have backed up and replaced the object before it
/// was killed: there is a backup, and the object has the contents of the source. If the clock of
/// the source is ahead, such a copy differs from its source nevertheless. It must not replace the
/// backup of the original.
async fn is_copy_of_killed_worker(shared: &Shared, pair: &Pair, backup: &Key) -> Result<bool> {
    let (Some(source), Some(target)) = (&pair.source, &pair.target) else { return Ok(false) };
    if source.size != target.size {
        return Ok(false);
    }
    shared.requests(1).await;
    if !shared.target.storage().exists(backup).await? {
        return Ok(false);
    }
    match shared.compare_contents(source, target).await {
        Ok(same) => Ok(same == Some(true)),
        Err(error) if compare::is_changed(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies exactly the listed version: a newer one, such as the copy of another worker, must not
/// replace the backup of the listed one. Fails with `PreconditionFailed` or `NotFound` if the
/// object is another version.
async fn back_up_listed(storage: &Storage, old: &ObjectEntry, to: &Key) -> Result<()> {
    if old.etag.as_ref().is_some_and(|etag| !etag.is_weak()) {
        copy(storage, &old.key, storage, to).listed(old.clone()).await?;
        return Ok(());
    }
    // A local disk lists no ETags.
    let changed = || Error::new(ErrorKind::PreconditionFailed, "another version than the listed");
    let now = storage.stat(&old.key).await?;
    if !compare::is_listed_version(old, &now) {
        return Err(changed());
    }
    if let Some(etag) = now.strong_etag() {
        copy(storage, &old.key, storage, to).if_source_match(etag.clone()).await?;
        return Ok(());
    }
    // An opened object is of one version.
    let object = storage.open(&old.key).await?;
    if !compare::is_listed_version(old, object.meta()) {
        return Err(changed());
    }
    let save = SaveOptions::new().metadata(object.meta().metadata.clone());
    storage.save_with(to, object, save).await?;
    Ok(())
}
