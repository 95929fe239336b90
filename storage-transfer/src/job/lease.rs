//! [`Lease`]: the right of one worker to a shard, and what it stores there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::copy::{UnfinishedCopy, UploadRecorder};
use crate::job::documents::{ShardDocument, ShardState};
use crate::job::records::{self, Kind};
use crate::job::store::{Document, Store};
use crate::ledger::{Ledger, MAX_RECORDS, MAX_UNKNOWN, Settlement};
use crate::moment::Moment;
use crate::steps::Limit;
use crate::stop::Stop;
use crate::sync::deletes::Deleted;
use crate::sync::shared::Uploads;
use async_trait::async_trait;
use serde::Serialize;
use storage_core::{Error, ErrorKind, Result};

/// Files of records have numbers of the epoch, so that two workers never write the same one.
const FILES_PER_EPOCH: u64 = 1 << 20;

/// The time between two attempts to read a document whose last save had no clear result.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// How often a save of the document is repeated.
const MAX_ATTEMPTS: u32 = 5;

/// The right of one worker to a shard.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Store,
    owner: String,
    /// The last version of the document that this worker knows.
    document: tokio::sync::Mutex<Document<ShardDocument>>,
    state: Mutex<State>,
    pub(crate) limit: Limit,
    /// How long the shard belongs to this worker after a save.
    time: Duration,
    begins_pass: bool,
}

#[derive(Debug)]
struct State {
    /// Ends the pass if the lease is lost, or if the range became shorter than what was read.
    stop: Stop,
    ledger: Arc<Ledger>,
    /// What is settled and not stored yet.
    unstored: Settlement,
    /// The uploads of large objects.
    uploads: BTreeMap<String, UnfinishedCopy>,
    /// The keys of earlier runs that moved aside.
    aside: Vec<String>,
    is_lost: bool,
    must_rewind: bool,
    /// When the last save began.
    stored: Moment,
    /// Whether the last save had no clear result, so that the document must be read.
    must_read: bool,
    files: u64,
}

impl Lease {
    /// Claims a shard. Returns `None` if another worker was faster.
    pub(crate) async fn claim(
        store: &Store,
        shard: Document<ShardDocument>,
        pass: u64,
        (owner, time): (&str, Duration),
    ) -> Result<Option<Arc<Self>>> {
        let Document { value, etag } = shard;
        let begins_pass = value.pass < pass;
        let before = value.clone();
        let mut value = value.in_pass(pass);
        value.epoch += 1;
        value.seq += 1;
        value.owner = Some(owner.to_owned());
        let began = Moment::now();
        let claim = Document { value: value.clone(), etag };
        let Some(document) = save_claim(store, claim, &before).await? else { return Ok(None) };
        let limit = Limit::default();
        limit.set(document.value.until.clone());
        Ok(Some(Arc::new(Self {
            store: store.clone(),
            owner: owner.to_owned(),
            state: Mutex::new(State {
                stop: Stop::new(),
                ledger: Arc::new(Ledger::knowing(&document.value.unknown)),
                unstored: Settlement::default(),
                aside: document.value.aside.clone(),
                uploads: document.value.uploads.clone(),
                is_lost: false,
                must_rewind: false,
                stored: began,
                must_read: false,
                files: 0,
            }),
            document: tokio::sync::Mutex::new(document),
            limit,
            time,
            begins_pass,
        })))
    }

    /// Deletes the records of earlier passes, if this claim has begun a new one. A failure is not
    /// reported, because nothing reads them.
    pub(crate) async fn delete_old_records(&self) {
        if !self.begins_pass {
            return;
        }
        let shard = self.document().await;
        let first = shard.epoch * FILES_PER_EPOCH;
        if let Err(error) = self.store.delete_records_before(&shard.id, first).await {
            tracing::debug!("records of an earlier pass are left: {error}");
        }
    }

    /// Returns the document as it was stored last.
    pub(crate) async fn document(&self) -> ShardDocument {
        self.document.lock().await.value.clone()
    }

    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.state().ledger)
    }

    /// Returns the handle that ends the pass.
    pub(crate) fn stop(&self) -> Stop {
        self.state().stop.clone()
    }

    /// Returns the keys that earlier runs left behind the watermark.
    pub(crate) fn aside(&self) -> Vec<String> {
        self.state().aside.clone()
    }

    /// Notes that the keys that were left behind are settled.
    pub(crate) async fn settle_aside(&self, settled: Settlement) {
        // Not while the state is stored, which forgets what it has stored.
        let _document = self.document.lock().await;
        let mut state = self.state();
        state.aside.clear();
        let settled = Settlement { watermark: None, aside: Vec::new(), ..settled };
        state.unstored.extend(settled);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state().is_lost
    }

    /// Returns whether a key belongs to this shard, and its result will be stored.
    pub(crate) fn includes(&self, name: &str) -> bool {
        !self.state().must_rewind && !self.limit.is_behind(name)
    }

    /// Returns whether so many records are not stored that this should be done now.
    pub(crate) fn is_full(&self) -> bool {
        let state = self.state();
        state.ledger.is_full() || state.unstored.records() >= MAX_RECORDS
    }

    /// Returns the uploads that are not complete.
    pub(crate) fn uploads(&self) -> BTreeMap<String, UnfinishedCopy> {
        self.state().uploads.clone()
    }

    /// Returns whether the range became shorter than what was read. If so, forgets what is not
    /// stored: the run begins again from the stored watermark, and counts each key once.
    pub(crate) async fn rewind(&self) -> bool {
        let document = {
            let mut document = self.document.lock().await;
            self.read_again(&mut document).await;
            document.value.clone()
        };
        let mut state = self.state();
        if state.is_lost || !std::mem::take(&mut state.must_rewind) {
            return false;
        }
        state.stop = Stop::new();
        state.ledger = Arc::new(Ledger::knowing(&document.unknown));
        state.unstored = Settlement::default();
        // The keys that had moved aside are behind the stored watermark.
        state.aside = document.aside;
        self.limit.set(document.until);
        state.uploads.retain(|name, _| !self.limit.is_behind(name));
        true
    }

    /// Reads the document again if the last save had no clear result. If it cannot be read for
    /// long, or belongs to another worker, the lease is lost.
    async fn read_again(&self, document: &mut Document<ShardDocument>) {
        while self.state().must_read && !self.is_lost() {
            match self.store.shard(&document.value.id).await {
                Ok(found)
                    if found.value.epoch == document.value.epoch
                        && found.value.owner.as_ref() == Some(&self.owner) =>
                {
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

    /// Stores the watermark, the sums and the uploads, which also renews the lease.
    ///
    /// # Errors
    /// `Conflict` if another worker has the shard now, and errors of the storage.
    pub(crate) async fn renew(&self) -> Result<()> {
        let document = self.document.lock().await;
        // If saves fail, the pass waits, and what is in memory stays bounded.
        if self.state().unstored.records() < MAX_RECORDS {
            self.collect();
        }
        self.store_state(document, |_| {}).await
    }

    /// Stores the rest, and returns the shard. All its keys are settled; if it has extras, they are
    /// to be deleted.
    pub(crate) async fn finish(&self) -> Result<()> {
        self.store_all(|shard| {
            shard.state = match shard.extra_files.is_empty() {
                true => ShardState::Done,
                false => ShardState::Copied,
            };
            shard.owner = None;
        })
        .await
    }

    /// Stores the rest, and returns the shard, so that another worker need not wait.
    pub(crate) async fn release(&self) -> Result<()> {
        self.store_all(|shard| shard.owner = None).await
    }

    /// Stores what became of extras. Forgets their file, if it is done. Fails with `Timeout` if the
    /// last save had no clear result: what is stored must be read first.
    pub(crate) async fn settle_extras(&self, file: Option<u64>, deleted: &Deleted) -> Result<()> {
        if self.state().must_rewind {
            let message = "the state of the shard has to be read again: run the job again";
            return Err(Error::new(ErrorKind::Timeout, message).with_retryable(true));
        }
        let shard = self.document().await;
        let failed = deleted.failed.as_deref().unwrap_or_default();
        let failed = self.write_records(&shard, Kind::Failed, failed).await?;
        self.store_all(|shard| {
            shard.extra_files.retain(|number| Some(*number) != file);
            shard.failed_files.extend(&failed);
            shard.counts += deleted.counts;
        })
        .await
    }

    /// Returns for how long nothing was stored.
    pub(crate) fn age(&self) -> Duration {
        self.state().stored.age()
    }

    /// Returns whether the shard still belongs to this worker. If it has slept for too long, it
    /// does not, although no save has shown that yet.
    pub(crate) fn is_held(&self) -> bool {
        if self.age() >= self.time {
            self.lose();
        }
        !self.is_lost()
    }

    /// Ends the pass, because the shard may belong to another worker.
    pub(crate) fn lose(&self) {
        let mut state = self.state();
        state.is_lost = true;
        state.stop.stop();
    }

    async fn store_all(&self, change: impl Fn(&mut ShardDocument) + Send) -> Result<()> {
        let document = self.document.lock().await;
        self.collect();
        self.store_state(document, change).await
    }

    /// Stores what was collected. If the future is dropped, the lease is of no more use: the save
    /// may have happened or not.
    async fn store_state(
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
            let found = match self.store.replace_shard(next).await {
                Ok(Some(stored)) => stored,
                Ok(None) if unclear.is_none() => self.store.shard(&written.id).await?,
                Err(error) if !may_be_stored(&error) && unclear.is_none() => return Err(error),
                // The response may be lost, so the document shows whether it was stored.
                failed => {
                    unclear = failed.err().or(unclear);
                    let Ok(found) = self.store.shard(&written.id).await else { break };
                    found
                }
            };
            if found.value == written {
                *document = found;
                self.stored(began);
                return Ok(());
            }
            if found.value.epoch != written.epoch || found.value.owner.as_ref() != Some(&self.owner)
            {
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
        if let Some(error) = unclear {
            if adds {
                self.distrust();
            }
            return Err(error);
        }
        let message = "the state of the shard was changed by others at each attempt to store it: \
                       run the job again";
        Err(Error::new(ErrorKind::Timeout, message))
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
    fn collect(&self) {
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

    async fn write_records<T: Serialize>(
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

    // No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type LockedDocument<'a> = tokio::sync::MutexGuard<'a, Document<ShardDocument>>;

/// Returns what only the worker of a shard changes.
fn sums(shard: &ShardDocument) -> impl PartialEq {
    let files = (shard.failed_files.clone(), shard.extra_files.clone());
    (shard.watermark.clone(), shard.counts, files)
}

/// Stores a claim. Returns `None` if another worker was faster.
async fn save_claim(
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
        if found.value == claim.value {
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

/// Returns the error for an upload of a key that another shard has now.
fn moved() -> Error {
    let message = "the shard was divided, so that the copy begins again";
    Error::new(ErrorKind::Conflict, message)
}

fn lost() -> Error {
    let message = "another worker has this shard now, because this one did not store its state in \
                   time; its copies are safe";
    Error::new(ErrorKind::Conflict, message)
}

/// The uploads of a shard.
#[derive(Debug, Clone)]
pub(crate) struct LeaseUploads(pub(crate) Arc<Lease>);

impl Uploads for LeaseUploads {
    fn recorder(&self, name: &str) -> Arc<dyn UploadRecorder> {
        Arc::new(Recorder { lease: Arc::clone(&self.0), name: name.to_owned() })
    }

    fn unfinished(&self, name: &str) -> Option<UnfinishedCopy> {
        self.0.state().uploads.get(name).cloned()
    }

    fn finished(&self, name: &str) {
        self.0.state().uploads.remove(name);
    }

    fn includes(&self, name: &str) -> bool {
        self.0.includes(name)
    }

    fn may_delete(&self) -> bool {
        self.0.is_held()
    }
}

struct Recorder {
    lease: Arc<Lease>,
    name: String,
}

#[async_trait]
impl UploadRecorder for Recorder {
    async fn begun(&self, unfinished: &UnfinishedCopy) -> Result<()> {
        self.lease.state().uploads.insert(self.name.clone(), unfinished.clone());
        let stored = self.lease.renew().await;
        if stored.is_ok() && self.lease.includes(&self.name) {
            return Ok(());
        }
        // It is aborted.
        self.lease.state().uploads.remove(&self.name);
        stored.and(Err(moved()))
    }
}

#[cfg(test)]
mod tests {
    use storage_core::{Memory, Operation};
    use storage_testkit::faults::Faults;

    use super::*;
    use crate::directory::Directory;
    use crate::sync::summary::Counts;

    async fn claimed(faults: &Faults) -> Arc<Lease> {
        let storage = Memory::storage().layer(|inner| faults.layer(inner));
        let store = Store::new(&Directory::new(&storage, "job").unwrap()).unwrap();
        let shard = ShardDocument::new("a".to_owned(), None, None);
        let shard = store.create_shard(&shard).await.unwrap().unwrap();
        let owner = ("worker", Duration::from_secs(60));
        Lease::claim(&store, shard, 1, owner).await.unwrap().unwrap()
    }

    fn settle(lease: &Lease, new: u64) {
        lease.ledger().note(Counts { new, ..Counts::default() }.into());
    }

    #[tokio::test]
    async fn what_a_save_whose_response_is_lost_has_stored_is_counted_once() {
        let faults = Faults::new();
        let lease = claimed(&faults).await;
        settle(&lease, 3);
        let lost = faults.on(Operation::Save).call(1).lose_response(ErrorKind::Unexpected);
        lease.renew().await.unwrap();
        settle(&lease, 1);
        lease.renew().await.unwrap();
        assert_eq!((lease.document().await.counts.new, lost.fired()), (4, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_stored_before_another_worker_took_the_end_is_counted_once() {
        let faults = Faults::new();
        let lease = claimed(&faults).await;
        settle(&lease, 3);
        let lost = faults.on(Operation::Save).call(1).lose_response(ErrorKind::Timeout);
        let taken = async {
            while lost.fired() == 0 {
                tokio::task::yield_now().await;
            }
            let mut shard = lease.store.shard("a").await.unwrap();
            shard.value.cut_off("m".to_owned(), "b".to_owned());
            lease.store.replace_shard(shard).await.unwrap().unwrap();
        };
        let (renewed, ()) = tokio::join!(lease.renew(), taken);
        let begins_again = lease.rewind().await;
        let shard = lease.document().await;
        assert_eq!((shard.counts.new, shard.until.as_deref()), (3, Some("m")));
        assert!(begins_again, "{renewed:?}");
    }

    #[tokio::test]
    async fn after_a_save_without_a_clear_result_the_pass_begins_again_from_what_is_stored() {
        for (is_stored, counted) in [(true, 3), (false, 0)] {
            let faults = Faults::new();
            let lease = claimed(&faults).await;
            settle(&lease, 3);
            let save = faults.on(Operation::Save).call(1);
            let save = match is_stored {
                true => save.lose_response(ErrorKind::Unexpected),
                false => save.fail(ErrorKind::Unexpected),
            };
            let read = faults.on(Operation::Open).call(1).fail(ErrorKind::Unexpected);
            assert_eq!(lease.renew().await.unwrap_err().kind(), ErrorKind::Unexpected);
            assert_eq!((save.fired(), read.fired()), (1, 1));
            assert!(lease.stop().is_stopped());
            assert!(lease.rewind().await);
            assert_eq!(lease.document().await.counts.new, counted);
            settle(&lease, 1);
            lease.renew().await.unwrap();
            assert_eq!(lease.document().await.counts.new, counted + 1);
        }
    }

    #[tokio::test]
    async fn a_renewal_without_a_clear_result_does_not_end_the_pass() {
        let faults = Faults::new();
        let lease = claimed(&faults).await;
        let failed = faults.on(Operation::Save).call(1).fail(ErrorKind::Unexpected);
        let unread = faults.on(Operation::Open).call(1).fail(ErrorKind::Unexpected);
        lease.renew().await.unwrap_err();
        assert_eq!((failed.fired(), unread.fired()), (1, 1));
        assert!(!lease.stop().is_stopped() && !lease.rewind().await);
        lease.renew().await.unwrap();
    }

    #[tokio::test]
    async fn a_claim_that_can_never_be_stored_fails_with_its_error() {
        let faults = Faults::new();
        let lease = claimed(&faults).await;
        let shard = lease.document.lock().await.clone();
        let failed = faults.on(Operation::Save).fail(ErrorKind::Unexpected);
        let owner = ("other", Duration::from_secs(60));
        let error = Lease::claim(&lease.store, shard, 1, owner).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert_eq!(failed.fired(), MAX_ATTEMPTS as usize);
    }

    #[tokio::test]
    async fn a_claim_whose_response_is_lost_is_read_back() {
        let faults = Faults::new();
        let lost = faults.on(Operation::Save).call(2).lose_response(ErrorKind::Unexpected);
        assert_eq!(claimed(&faults).await.document().await.owner.as_deref(), Some("worker"));
        assert_eq!(lost.fired(), 1);
    }

    #[tokio::test]
    async fn a_lost_lease_is_not_revived_by_a_shorter_range() {
        let lease = claimed(&Faults::new()).await;
        lease.state().must_rewind = true;
        lease.lose();
        assert!(!lease.rewind().await);
        assert!(lease.stop().is_stopped());
    }
}
