//! Deletes the objects that the source lacks, after all copies are done.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt, stream};
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result};

use crate::compare;
use crate::copy::Bandwidth;
use crate::event::{KeyEvent, Outcome};
use crate::ledger::FailedKey;
use crate::moment::Moment;
use crate::retry::Retry;
use crate::sync::extras::{Extra, ExtraStream};
use crate::sync::pass::GRACE;
use crate::sync::shared::{Shared, target_changed};
use crate::sync::summary::Counts;
use crate::sync::unknown::UnknownNames;

/// For how long the looks of one request go on. An object that another program saves after the look
/// is deleted.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// The age of the first look at which it is of no more use: the run was suspended, or the storage
/// is slow.
const MAX_AGE: Duration = Duration::from_secs(60);

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

impl Kept<'_> {
    fn check(&self, extra: &Extra) -> Result<()> {
        let message = if self.unknown.contains(&extra.name) {
            "kept, because this part of the source could not be listed"
        } else if self.failed_ranges.contains(&extra.range) {
            "kept, because a copy of a key near this one failed"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Conflict, message))
    }
}

/// What became of extras.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    pub(crate) counts: Counts,
    /// The keys that failed, if they are recorded.
    pub(crate) failed: Option<Vec<FailedKey>>,
    /// How many of them failed temporarily.
    pub(crate) failed_temporarily: u64,
}

/// Deletes all extras that may be deleted. If the transfer is ended, begins no other deletion, and
/// waits a short time for the one under way.
pub(crate) async fn delete_extras(
    shared: &Shared,
    extras: ExtraStream,
    kept: &Kept<'_>,
    done: &mut Deleted,
) -> Result<()> {
    let mut batches = extras.chunks(BATCH);
    while let Some(batch) = batches.next().await {
        if shared.stop.is_stopped() {
            break;
        }
        let batch = batch.into_iter().collect::<Result<_>>()?;
        tokio::select! {
            biased;
            () = delete_batch(shared, batch, kept, done) => {}
            () = grace_ended(shared) => break,
        }
    }
    Ok(())
}

async fn grace_ended(shared: &Shared) {
    shared.stop.stopped().await;
    tokio::time::sleep(GRACE).await;
}

/// Deletes extras, and repeats those that fail for a while, with another look at both sides.
async fn delete_batch(shared: &Shared, mut batch: Vec<Extra>, kept: &Kept<'_>, done: &mut Deleted) {
    let mut retry = Retry::default();
    while !batch.is_empty() && !shared.stop.is_stopped() {
        let (mut temporary, rest) = delete_once(shared, batch, kept, done).await;
        batch = rest;
        let Some((extra, error)) = temporary.pop() else { continue };
        match shared.wait(&mut retry, error).await {
            Ok(()) => batch.extend(temporary.into_iter().map(|(extra, _)| extra).chain([extra])),
            Err(error) => {
                for (extra, error) in temporary.iter().chain([&(extra, error)]) {
                    done.failed_temporarily += 1;
                    failed(shared, done, extra, error);
                }
            }
        }
    }
}

/// Deletes extras. Returns those that failed for a while, and those that were not looked at yet.
async fn delete_once(
    shared: &Shared,
    batch: Vec<Extra>,
    kept: &Kept<'_>,
    done: &mut Deleted,
) -> (Vec<(Extra, Error)>, Vec<Extra>) {
    let began = Moment::now();
    let Looked { keys, extras, mut temporary, rest } =
        look_at(shared, batch, kept, done, began).await;
    if began.age() > MAX_AGE {
        temporary.extend(extras.into_iter().map(|extra| (extra, look_is_old())));
        return (temporary, rest);
    }
    // A worker that has slept since the look must not act on it.
    let may_delete = shared.uploads.as_ref().is_none_or(|uploads| uploads.may_delete());
    if !may_delete || shared.stop.is_stopped() {
        return (Vec::new(), Vec::new());
    }
    let results = match &shared.backup {
        Some(backup) => back_up(shared, backup, keys, &extras).await,
        None => delete(shared, keys).await,
    };
    for (extra, result) in extras.into_iter().zip(results) {
        match result {
            Ok(()) => {
                done.counts.deleted += 1;
                emit(shared, &extra, Outcome::Extra, None);
            }
            Err(error) if error.is_retryable() => temporary.push((extra, error)),
            Err(error) => failed(shared, done, &extra, &error),
        }
    }
    (temporary, rest)
}

/// What a look at both sides of extras found.
#[derive(Default)]
struct Looked {
    /// What may be deleted, and the extras of these keys.
    keys: Vec<(Key, ObjectMeta)>,
    extras: Vec<Extra>,
    /// The looks that failed for a while.
    temporary: Vec<(Extra, Error)>,
    /// What was not looked at, because the time was over.
    rest: Vec<Extra>,
}

/// Looks at both sides of extras, for a short time.
async fn look_at(
    shared: &Shared,
    batch: Vec<Extra>,
    kept: &Kept<'_>,
    done: &mut Deleted,
    began: Moment,
) -> Looked {
    let (mut looked, mut batch) = (Looked::default(), batch.into_iter());
    let (mut looks, concurrency) = (FuturesOrdered::new(), looks_at_a_time(shared));
    loop {
        while looks.len() < concurrency
            && began.age() < LOOK_TIME
            && let Some(extra) = batch.next()
        {
            let look = async move {
                let checked = check(shared, &extra, kept).await;
                (extra, checked)
            };
            looks.push_back(look.boxed());
        }
        let Some((extra, checked)) = looks.next().await else { break };
        match checked {
            Ok(Some((key, object))) => {
                looked.keys.push((key, object));
                looked.extras.push(extra);
            }
            Ok(None) => {}
            Err(error) if error.is_retryable() => looked.temporary.push((extra, error)),
            // The guards of this module; errors of the storages are failures.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                done.counts.kept += 1;
                emit(shared, &extra, Outcome::Unknown, Some(&error));
            }
            Err(error) => failed(shared, done, &extra, &error),
        }
    }
    drop(looks);
    looked.rest = batch.collect();
    looked
}

/// Returns how many looks are under way at a time. A limit of requests would delay the last ones.
fn looks_at_a_time(shared: &Shared) -> usize {
    let limit = shared.requests.as_ref().map_or(u64::MAX, Bandwidth::per_second);
    shared.gate.limit().min(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn look_is_old() -> Error {
    let message = "more than 60 s passed between a look at this object and its deletion, so it was \
                   kept: the run was suspended, or the storage is slow; run again";
    Error::new(ErrorKind::Timeout, message).with_retryable(true)
}

/// Looks at both sides again, because backends have no condition on a deletion. Returns `None` if
/// the object is gone, if the source has one of its name now, or if the transfer is ended.
async fn check(
    shared: &Shared,
    extra: &Extra,
    kept: &Kept<'_>,
) -> Result<Option<(Key, ObjectMeta)>> {
    kept.check(extra)?;
    if shared.stop.is_stopped() {
        return Ok(None);
    }
    let key = extra.key(&shared.target)?;
    shared.requests(2).await;
    // The source lacks a name that is too long below its directory.
    if let Ok(from) = shared.source.key(&extra.name)
        && shared.source.storage().exists(from).await?
    {
        return Ok(None);
    }
    let object = match shared.target.storage().stat(&key).await {
        Err(error) if error.is_not_found() => return Ok(None),
        found => found?,
    };
    match compare::is_listed_version(&extra.listed(key.clone()), &object) {
        true => Ok(Some((key, object))),
        false => Err(target_changed()),
    }
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
        Err(error) if error.is_unsupported() && !error.took_effect() => {
            let mut copy = crate::copy(storage, &key, storage, to);
            if let Some(etag) = object.strong_etag() {
                copy = copy.if_source_match(etag.clone());
            }
            copy.await?;
            storage.delete(key).await
        }
        moved => moved,
    }
}

fn failed(shared: &Shared, done: &mut Deleted, extra: &Extra, error: &Error) {
    done.counts.failed += 1;
    if let Some(failed) = &mut done.failed {
        failed.push(FailedKey::new(&extra.name, error));
    }
    emit(shared, extra, Outcome::Failed, Some(error));
}

/// Reports what would be deleted, and what would be kept. Sends no request.
pub(crate) async fn predict(
    shared: &Shared,
    mut extras: ExtraStream,
    kept: &Kept<'_>,
    done: &mut Deleted,
) -> Result<()> {
    while let Some(extra) = extras.next().await {
        let extra = extra?;
        match kept.check(&extra) {
            Ok(()) => emit(shared, &extra, Outcome::Extra, None),
            Err(error) => {
                done.counts.kept += 1;
                emit(shared, &extra, Outcome::Unknown, Some(&error));
            }
        }
    }
    Ok(())
}

/// Reports extras that are kept, because nothing may be deleted.
pub(crate) async fn report_kept(
    shared: &Shared,
    mut extras: ExtraStream,
    outcome: Outcome,
    reason: &str,
) -> Result<()> {
    let error = Error::new(ErrorKind::Conflict, format!("kept, because {reason}"));
    while let Some(extra) = extras.next().await {
        emit(shared, &extra?, outcome, Some(&error));
    }
    Ok(())
}

fn emit(shared: &Shared, extra: &Extra, outcome: Outcome, error: Option<&Error>) {
    shared.emit(&KeyEvent { key: &extra.name, outcome, size: Some(extra.size), error });
}
