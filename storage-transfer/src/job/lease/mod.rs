//! [`Lease`]: the right of one worker to a shard, and what it stores there.

mod saving;
#[cfg(test)]
mod tests;
mod uploads;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::{Error, ErrorKind, Result};

use crate::copy::UnfinishedCopy;
use crate::job::documents::{ShardDocument, ShardState};
use crate::job::records::Kind;
use crate::job::store::{Document, Store};
use crate::ledger::{Ledger, MAX_RECORDS, Settlement};
use crate::moment::Moment;
use crate::steps::Limit;
use crate::stop::Stop;
use crate::sync::deletes::Deleted;
use saving::{FILES_PER_EPOCH, save_claim};

pub(crate) use uploads::LeaseUploads;

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

    /// Returns the first of the keys that earlier runs left behind the watermark, at most so many.
    pub(crate) fn aside(&self, count: usize) -> Vec<String> {
        self.state().aside.iter().take(count).cloned().collect()
    }

    /// Notes that the first of the keys that were left behind, so many, are settled.
    pub(crate) async fn settle_aside(&self, count: usize, settled: Settlement) {
        // Not while the state is stored, which forgets what it has stored.
        let _document = self.document.lock().await;
        let mut state = self.state();
        let count = count.min(state.aside.len());
        state.aside.drain(..count);
        let settled = Settlement { watermark: None, aside: Vec::new(), ..settled };
        state.unstored.extend(settled);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state().is_lost
    }

    /// Returns whether a key belongs to this shard, and its result will be stored.
    pub(crate) fn includes(&self, name: &str) -> bool {
        let state = self.state();
        !state.is_lost && !state.must_rewind && !self.limit.is_behind(name)
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

    /// Does the same, and counts that keys failed temporarily although both sides could be listed.
    pub(crate) async fn release_unavailable(&self) -> Result<()> {
        self.store_all(|shard| {
            shard.owner = None;
            shard.unavailable = shard.unavailable.saturating_add(1);
        })
        .await
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

    // No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
