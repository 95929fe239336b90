//! Saves of the document of a shard, also those without a clear result.

use std::time::Duration;

use serde::Serialize;
use storage_core::{Error, ErrorKind, Result};

use crate::job::documents::ShardDocument;
use crate::job::lease::Lease;
use crate::job::records::{self, Kind};
use crate::job::store::{Document, Store};
use crate::ledger::{MAX_UNKNOWN, Settlement};
use crate::moment::Moment;

/// Files of records have numbers of the epoch, so that two workers never write the same one.
pub(super) const FILES_PER_EPOCH: u64 = 1 << 20;

/// The time between two attempts to read a document whose last save had no clear result.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// How often a save of the document is repeated.
pub(super) const MAX_ATTEMPTS: u32 = 5;

pub(super) type LockedDocument<'a> = tokio::sync::MutexGuard<'a, Document<ShardDocument>>;

impl Lease {
    pub(super) async fn store_all(&self, change: impl Fn(&mut ShardDocument) + Send) -> Result<()> {
        let document = self.document.lock().await;
        self.collect();
        self.store_state(document, change).await
    }

    /// Stores what was collected. If the future is dropped, the lease is of no more use: the save
    /// may have happened or not.
    pub(super) async fn store_state(
        &self,
        mut document: LockedDocument<'_>,
        change: impl Fn(&mut ShardDocument) + Send,
    ) -> Result<()> {
        if self.is_past_end(document.value.until.as_deref()) {
            return Ok(());
        }
        let files = self.write_files(&document.value).await?;
        let (mut unclear, mut adds) = (None, false);
        for _ in 0..MAX_ATTEMPTS {
            let began = Moment::now();
            let mut next = document.clone();
            self.fill(&mut next.value, &files);
            change(&mut next.value);
            next.value.seq += 1;
            let written = next.value.clone();
            // A save that only renews the lease may happen later without harm.
            adds = written.owner.is_none() || sums(&written) != sums(&document.value);
            let Some(found) = self.save_and_read(next, &mut unclear).await? else { break };
            if found.value == written {
                *document = found;
                self.stored(began);
                return Ok(());
            }
            if !self.is_same_claim(&found.value, &document.value) {
                self.lose();
                return Err(lost());
            }
            let is_as_before = found.value == document.value;
            if let Some(error) = &unclear
                && !(is_as_before && error.is_retryable())
            {
                break;
            }
            if sums(&found.value) != sums(&document.value) {
                // An earlier attempt of this save has happened, and the end was taken since.
                self.distrust();
                return Ok(());
            }
            // Another worker has taken the end of the range, or nothing was written.
            let until = found.value.until.clone();
            *document = found;
            self.shorten(until.clone());
            if self.is_past_end(until.as_deref()) {
                return Ok(());
            }
        }
        if unclear.is_some() && adds {
            self.distrust();
        }
        Err(unclear.unwrap_or_else(changed_by_others))
    }

    /// Saves the document, and returns the one that is stored afterwards. Returns `None` and keeps
    /// the error, if the save had no clear result and the document cannot be read either.
    async fn save_and_read(
        &self,
        next: Document<ShardDocument>,
        unclear: &mut Option<Error>,
    ) -> Result<Option<Document<ShardDocument>>> {
        let id = next.value.id.clone();
        match self.store.replace_shard(next).await {
            Ok(Some(stored)) => return Ok(Some(stored)),
            Ok(None) if unclear.is_none() => return self.store.shard(&id).await.map(Some),
            Err(error) if !may_be_stored(&error) && unclear.is_none() => return Err(error),
            // The response may be lost, so the document shows whether it was stored.
            failed => *unclear = failed.err().or(unclear.take()),
        }
        Ok(self.store.shard(&id).await.ok())
    }

    /// Returns whether a document is that of this claim, whatever its range is.
    fn is_same_claim(&self, found: &ShardDocument, known: &ShardDocument) -> bool {
        found.epoch == known.epoch && found.owner.as_ref() == Some(&self.owner)
    }

    /// Ends the pass, because a save failed that may have happened, or may happen later. What it
    /// contained would be counted again. So the pass begins again from what is stored by then.
    fn distrust(&self) {
        let mut state = self.state();
        state.must_rewind = true;
        state.must_read = true;
        state.stop.stop();
    }

    /// Returns whether keys behind the end were read, which belong to another shard now. Then ends
    /// the pass, which has to begin again from the stored watermark.
    fn is_past_end(&self, until: Option<&str>) -> bool {
        let mut state = self.state();
        if until.is_some_and(|until| state.ledger.is_past(until)) {
            state.must_rewind = true;
            state.stop.stop();
        }
        state.must_rewind
    }

    /// Notes a new end of the range. The uploads behind it went to the other shard with their keys.
    fn shorten(&self, until: Option<String>) {
        self.limit.set(until);
        self.state().uploads.retain(|name, _| !self.limit.is_behind(name));
    }

    /// Takes what was settled since the last time.
    pub(super) fn collect(&self) {
        let mut state = self.state();
        let settled = state.ledger.take();
        state.unstored.extend(settled);
    }

    /// Writes the records to files that the document will name. Returns the numbers of the files.
    async fn write_files(&self, shard: &ShardDocument) -> Result<Files> {
        let (failed, extras) = {
            let state = self.state();
            (state.unstored.failed.clone(), state.unstored.extras.clone())
        };
        Ok(Files {
            failed: self.write_records(shard, Kind::Failed, &failed).await?,
            extras: self.write_records(shard, Kind::Extra, &extras).await?,
        })
    }

    pub(super) async fn write_records<T: Serialize>(
        &self,
        shard: &ShardDocument,
        kind: Kind,
        records: &[T],
    ) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for text in records::files(records)? {
            let number = {
                let mut state = self.state();
                state.files += 1;
                shard.epoch * FILES_PER_EPOCH + state.files
            };
            self.store.write_records(&shard.id, kind, number, text).await?;
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn fill(&self, shard: &mut ShardDocument, files: &Files) {
        let state = self.state();
        if let Some(watermark) = &state.unstored.watermark {
            shard.watermark = Some(watermark.clone());
        }
        shard.counts += state.unstored.counts;
        shard.failed_files.extend(&files.failed);
        shard.extra_files.extend(&files.extras);
        let room = MAX_UNKNOWN.saturating_sub(shard.unknown.len());
        shard.unknown.extend(state.unstored.unknown.iter().take(room).cloned());
        let aside = state.unstored.aside.iter().chain(&state.aside);
        shard.aside = aside.cloned().collect();
        shard.uploads.clone_from(&state.uploads);
    }

    /// Forgets what was stored by a save that began at this moment.
    fn stored(&self, began: Moment) {
        let mut state = self.state();
        let aside = std::mem::take(&mut state.unstored.aside);
        state.unstored = Settlement { aside, ..Settlement::default() };
        state.stored = began;
    }

    /// Reads the document again if the last save had no clear result. If it cannot be read for
    /// long, or belongs to another worker, the lease is lost.
    pub(super) async fn read_again(&self, document: &mut Document<ShardDocument>) {
        while self.state().must_read && !self.is_lost() {
            match self.store.shard(&document.value.id).await {
                Ok(found) if self.is_same_claim(&found.value, &document.value) => {
                    *document = found;
                    self.state().must_read = false;
                }
                Err(_) if self.age() < self.time * 2 / 3 => {
                    tokio::time::sleep(READ_PAUSE).await;
                }
                _ => self.lose(),
            }
        }
    }
}

/// Returns what only the worker of a shard changes.
fn sums(shard: &ShardDocument) -> impl PartialEq {
    let files = (shard.failed_files.clone(), shard.extra_files.clone());
    (shard.watermark.clone(), shard.counts, files)
}

/// Returns whether a document is that of this claim, whatever its range is: another worker may have
/// taken the end of it since.
fn is_of_claim(found: &ShardDocument, claim: &ShardDocument) -> bool {
    found.epoch == claim.epoch && found.owner == claim.owner
}

/// Stores a claim. Returns `None` if another worker was faster.
pub(super) async fn save_claim(
    store: &Store,
    claim: Document<ShardDocument>,
    before: &ShardDocument,
) -> Result<Option<Document<ShardDocument>>> {
    for attempt in 1.. {
        let error = match store.replace_shard(claim.clone()).await {
            Ok(Some(document)) => return Ok(Some(document)),
            Ok(None) => None,
            Err(error) if may_be_stored(&error) => Some(error),
            Err(error) => return Err(error),
        };
        // The response may be lost, or that of an attempt that the driver has repeated. The
        // document shows who has it.
        let found = store.shard(&claim.value.id).await?;
        if is_of_claim(&found.value, &claim.value) {
            return Ok(Some(found));
        }
        match error {
            Some(error) if found.value == *before => {
                if attempt == MAX_ATTEMPTS {
                    return Err(error);
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Returns whether a save that failed may have happened.
fn may_be_stored(error: &Error) -> bool {
    // Some drivers do not call an error of a conditional save retryable if its effect is unknown.
    match error.kind() {
        ErrorKind::Unexpected | ErrorKind::Timeout => true,
        ErrorKind::RateLimited => false,
        _ => error.is_retryable(),
    }
}

/// The numbers of files that were written.
#[derive(Debug, Default)]
struct Files {
    failed: Vec<u64>,
    extras: Vec<u64>,
}

fn lost() -> Error {
    let message = "another worker has this shard now, because this one did not store its state in \
                   time; its copies are safe";
    Error::new(ErrorKind::Conflict, message)
}

fn changed_by_others() -> Error {
    let message = "the state of the shard was changed by others at each attempt to store it: run \
                   the job again";
    Error::new(ErrorKind::Timeout, message)
}
