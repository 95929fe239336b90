//! Deletes the objects that the source lacks, after all copies are done.

use std::collections::BTreeSet;

use futures_util::{FutureExt, StreamExt, stream};
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result};

use crate::event::{KeyEvent, Outcome};
use crate::sync::extras::{Extra, ExtraStream};
use crate::sync::shared::{Shared, target_changed};
use crate::sync::summary::Counts;
use crate::sync::unknown::UnknownNames;

/// How many extras are deleted by one request.
const BATCH: usize = storage_core::MAX_DELETE_MANY;

/// What must not be deleted.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    /// Names at and below which the source is unknown.
    pub(crate) unknown: &'a UnknownNames,
    /// The ranges of keys in which a copy failed.
    pub(crate) failed_ranges: &'a BTreeSet<u64>,
}

/// Deletes all extras that may be deleted. Stops after the current batch if the transfer is ended.
pub(crate) async fn delete_extras(
    shared: &Shared,
    extras: ExtraStream,
    kept: &Kept<'_>,
    counts: &mut Counts,
) -> Result<()> {
    let mut batches = extras.chunks(BATCH);
    while let Some(batch) = batches.next().await {
        if shared.stop.is_stopped() {
            break;
        }
        let batch = batch.into_iter().collect::<Result<_>>()?;
        delete_batch(shared, batch, kept, counts).await;
    }
    Ok(())
}

async fn delete_batch(shared: &Shared, batch: Vec<Extra>, kept: &Kept<'_>, counts: &mut Counts) {
    let checks = batch.into_iter().map(|extra| {
        let check = async move {
            let checked = check(shared, &extra, kept).await;
            (extra, checked)
        };
        check.boxed()
    });
    // Collected, because the compiler cannot prove that the stream of a closure is `Send`.
    let checks: Vec<_> = checks.collect();
    let mut checks = stream::iter(checks).buffered(shared.gate.limit());
    let (mut keys, mut extras) = (Vec::new(), Vec::new());
    while let Some((extra, checked)) = checks.next().await {
        match checked {
            Ok(Some((key, object))) => {
                keys.push((key, object));
                extras.push(extra);
            }
            Ok(None) => {}
            // The guards of this module; errors of the storages are failures.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                counts.kept += 1;
                emit(shared, &extra, Outcome::Unknown, Some(&error));
            }
            Err(error) => failed(shared, counts, &extra, &error),
        }
    }
    drop(checks);
    let results = match &shared.backup {
        Some(backup) => back_up(shared, backup, keys, &extras).await,
        None => delete(shared, keys).await,
    };
    for (extra, result) in extras.iter().zip(results) {
        match result {
            Ok(()) => {
                counts.deleted += 1;
                emit(shared, extra, Outcome::Extra, None);
            }
            Err(error) => failed(shared, counts, extra, &error),
        }
    }
}

/// Looks at both sides again, because backends have no condition on a deletion. Returns `None` if
/// the object is gone, or if the source has one of its name now.
async fn check(
    shared: &Shared,
    extra: &Extra,
    kept: &Kept<'_>,
) -> Result<Option<(Key, ObjectMeta)>> {
    if kept.unknown.contains(&extra.name) {
        return Err(Error::new(
            ErrorKind::Conflict,
            "kept, because this part of the source could not be listed",
        ));
    }
    if kept.failed_ranges.contains(&extra.range) {
        return Err(Error::new(
            ErrorKind::Conflict,
            "kept, because a copy of a key near this one failed",
        ));
    }
    let (from, key) = (shared.source.key(&extra.name)?, extra.key(&shared.target)?);
    shared.requests(2).await;
    if shared.source.storage().exists(from).await? {
        return Ok(None);
    }
    let object = match shared.target.storage().stat(&key).await {
        Err(error) if error.is_not_found() => return Ok(None),
        found => found?,
    };
    let is_listed_version = match (&object.etag, &extra.etag) {
        (Some(now), Some(listed)) => now.weak_eq(listed),
        _ => object.size == extra.size,
    };
    if is_listed_version { Ok(Some((key, object))) } else { Err(target_changed()) }
}

async fn delete(shared: &Shared, keys: Vec<(Key, ObjectMeta)>) -> Vec<Result<()>> {
    shared.requests(1).await;
    let keys = stream::iter(keys.into_iter().map(|(key, _)| key));
    let results = shared.target.storage().delete_many(keys);
    results.map(|result| result.map(drop)).collect().await
}

/// Moves the objects into the backup directory.
async fn back_up(
    shared: &Shared,
    backup: &str,
    keys: Vec<(Key, ObjectMeta)>,
    extras: &[Extra],
) -> Vec<Result<()>> {
    let moves = keys.into_iter().zip(extras).map(|((key, object), extra)| {
        move_to_backup(shared, format!("{backup}{}", extra.name), key, object).boxed()
    });
    let moves: Vec<_> = moves.collect();
    stream::iter(moves).buffered(shared.gate.limit()).collect().await
}

async fn move_to_backup(shared: &Shared, to: String, key: Key, object: ObjectMeta) -> Result<()> {
    let (storage, to) = (shared.target.storage(), shared.target.key(&to)?);
    shared.requests(2).await;
    let mut rename = storage.rename(&key, &to);
    if let Some(etag) = object.strong_etag() {
        rename = rename.if_source_match(etag.clone());
    }
    match rename.await {
        Err(error) if error.is_unsupported() => {
            crate::copy(storage, &key, storage, to).await?;
            storage.delete(key).await
        }
        moved => moved,
    }
}

fn failed(shared: &Shared, counts: &mut Counts, extra: &Extra, error: &Error) {
    counts.failed += 1;
    emit(shared, extra, Outcome::Failed, Some(error));
}

fn emit(shared: &Shared, extra: &Extra, outcome: Outcome, error: Option<&Error>) {
    shared.emit(&KeyEvent { key: &extra.name, outcome, size: Some(extra.size), error });
}
