//! [`Lease`]: the right of one worker to a shard, and what it stores there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use storage_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::copy::{UnfinishedCopy, UploadRecorder};
use crate::job::documents::{ShardDocument, ShardState};
use crate::job::records::Kind;
use crate::job::store::{Document, Store};
use crate::ledger::{Ledger, Settlement};
use crate::steps::Limit;
use crate::stop::Stop;
use crate::sync::shared::Uploads;

/// Files of records have numbers of the epoch, so that two workers never write the same one.
const FILES_PER_EPOCH: u64 = 1 << 20;

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
    stored: Instant,
    files: u64,
}

impl Lease {
    /// Claims a shard. Returns `None` if another worker was faster.
    pub(crate) async fn claim(
        store: &Store,
        shard: Document<ShardDocument>,
        pass: u64,
        owner: &str,
    ) -> Result<Option<Arc<Self>>> {
        let Document { value, etag } = shard;
        let mut value = value.in_pass(pass);
        value.epoch += 1;
        value.seq += 1;
        value.owner = Some(owner.to_owned());
        let claimed = store.replace_shard(Document { value: value.clone(), etag }).await;
        let document = match claimed {
            Ok(Some(document)) => document,
            Err(error) if !error.is_retryable() => return Err(error),
            // The response may be lost, or that of an attempt that the driver has repeated. The
            // document shows who has it.
            Ok(None) | Err(_) => match store.shard(&value.id).await? {
                found if found.value == value => found,
                _ => return Ok(None),
            },
        };
        let limit = Limit::default();
        limit.set(document.value.until.clone());
        Ok(Some(Arc::new(Self {
            store: store.clone(),
            owner: owner.to_owned(),
            state: Mutex::new(State {
                stop: Stop::new(),
                ledger: Arc::default(),
                unstored: Settlement::default(),
                aside: document.value.aside.clone(),
                uploads: document.value.uploads.clone(),
                is_lost: false,
                must_rewind: false,
                stored: Instant::now(),
                files: 0,
            }),
            document: tokio::sync::Mutex::new(document),
            limit,
        })))
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

    /// Returns whether the range became shorter than what was read. If so, forgets what is not
    /// stored: the run begins again from the stored watermark, and counts each key once.
    pub(crate) async fn rewind(&self) -> bool {
        let document = self.document.lock().await.value.clone();
        let mut state = self.state();
        if !std::mem::take(&mut state.must_rewind) {
            return false;
        }
        state.stop = Stop::new();
        state.ledger = Arc::default();
        state.unstored = Settlement::default();
        // The keys that had moved aside are behind the stored watermark.
        state.aside = document.aside;
        self.limit.set(document.until);
        true
    }

    /// Stores the watermark, the sums and the uploads, which also renews the lease.
    ///
    /// # Errors
    /// `Conflict` if another worker has the shard now, and errors of the storage.
    pub(crate) async fn renew(&self) -> Result<()> {
        self.store_state(|_| {}).await
    }

    /// Stores the rest, and returns the shard. All its keys are settled; if it has extras, they are
    /// to be deleted.
    pub(crate) async fn finish(&self) -> Result<()> {
        self.store_state(|shard| {
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
        self.store_state(|shard| shard.owner = None).await
    }

    /// Changes the document of a shard whose extras are deleted.
    pub(crate) async fn change(&self, change: impl Fn(&mut ShardDocument) + Send) -> Result<()> {
        self.store_state(change).await
    }

    /// Returns for how long nothing was stored.
    pub(crate) fn age(&self) -> Duration {
        self.state().stored.elapsed()
    }

    /// Ends the pass, because the shard may belong to another worker.
    pub(crate) fn lose(&self) {
        let mut state = self.state();
        state.is_lost = true;
        state.stop.stop();
    }

    async fn store_state(&self, change: impl Fn(&mut ShardDocument) + Send) -> Result<()> {
        let mut document = self.document.lock().await;
        self.collect();
        if self.is_past_end(document.value.until.as_deref()) {
            return Ok(());
        }
        let files = self.write_files(&document.value).await?;
        for _ in 0..MAX_ATTEMPTS {
            let mut next = document.clone();
            self.fill(&mut next.value, files);
            change(&mut next.value);
            next.value.seq += 1;
            let written = next.value.clone();
            let found = match self.store.replace_shard(next).await {
                Ok(Some(stored)) => stored,
                Ok(None) => self.store.shard(&written.id).await?,
                // The response may be lost, so the document shows whether it was stored.
                Err(error) if error.is_retryable() => match self.store.shard(&written.id).await {
                    Ok(found) => found,
                    Err(_) => return Err(error),
                },
                Err(error) => return Err(error),
            };
            if found.value == written {
                *document = found;
                self.stored();
                return Ok(());
            }
            if found.value.epoch != written.epoch || found.value.owner.as_ref() != Some(&self.owner)
            {
                self.lose();
                return Err(lost());
            }
            // Another worker has taken the end of the range, or nothing was written.
            let until = found.value.until.clone();
            *document = found;
            self.limit.set(until.clone());
            if self.is_past_end(until.as_deref()) {
                return Ok(());
            }
        }
        let message = "the state of the shard cannot be stored";
        Err(Error::new(ErrorKind::Timeout, message))
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

    /// Takes what was settled since the last time.
    fn collect(&self) {
        let mut state = self.state();
        let settled = state.ledger.take();
        state.unstored.extend(settled);
    }

    /// Writes the records to files that the document will name. Returns the numbers of the files.
    async fn write_files(&self, shard: &ShardDocument) -> Result<(Option<u64>, Option<u64>)> {
        let (failed, extras) = {
            let state = self.state();
            (state.unstored.failed.clone(), state.unstored.extras.clone())
        };
        let number = || {
            let mut state = self.state();
            state.files += 1;
            shard.epoch * FILES_PER_EPOCH + state.files
        };
        let mut files = (None, None);
        if !failed.is_empty() {
            let number = number();
            self.store.write_records(&shard.id, Kind::Failed, number, &failed).await?;
            files.0 = Some(number);
        }
        if !extras.is_empty() {
            let number = number();
            self.store.write_records(&shard.id, Kind::Extra, number, &extras).await?;
            files.1 = Some(number);
        }
        Ok(files)
    }

    fn fill(&self, shard: &mut ShardDocument, files: (Option<u64>, Option<u64>)) {
        let state = self.state();
        if let Some(watermark) = &state.unstored.watermark {
            shard.watermark = Some(watermark.clone());
        }
        shard.counts += state.unstored.counts;
        shard.failed_files.extend(files.0);
        shard.extra_files.extend(files.1);
        let aside = state.unstored.aside.iter().chain(&state.aside);
        shard.aside = aside.cloned().collect();
        shard.uploads.clone_from(&state.uploads);
    }

    fn stored(&self) {
        let mut state = self.state();
        let aside = std::mem::take(&mut state.unstored.aside);
        state.unstored = Settlement { aside, ..Settlement::default() };
        state.stored = Instant::now();
    }

    // No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
}

struct Recorder {
    lease: Arc<Lease>,
    name: String,
}

#[async_trait]
impl UploadRecorder for Recorder {
    async fn begun(&self, unfinished: &UnfinishedCopy) -> Result<()> {
        self.lease.state().uploads.insert(self.name.clone(), unfinished.clone());
        self.lease.renew().await
    }
}
