//! [`Work`]: a worker of a job.

use std::collections::BTreeSet;
use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Key, Result};
use tokio::task::JoinSet;

use crate::copy::{Bandwidth, OnBytes, ServerSideCopy};
use crate::directory::Directory;
use crate::event::OnEvent;
use crate::job::claims::{Claims, Found};
use crate::job::documents::{JobDocument, JobState, ShardDocument};
use crate::job::lease::{Lease, LeaseUploads};
use crate::job::records::Kind;
use crate::job::{Job, status};
use crate::ledger::Ledger;
use crate::listing::NameRange;
use crate::merge::{Merge, Side};
use crate::steps::Steps;
use crate::stop::Stop;
use crate::sync::deletes::{self, Kept};
use crate::sync::extras::Extra;
use crate::sync::gate::Gate;
use crate::sync::pass::Pass;
use crate::sync::shared::Shared;
use crate::sync::summary::{Counts, Ended, SyncSummary};
use crate::sync::unknown::UnknownNames;
use crate::sync::{self, Concurrency, Refusal};

/// How many records a worker holds in memory before it stores them.
const MAX_RECORDS: usize = 10_000;

/// A worker of a job that has not begun yet. Await it.
///
/// Claims shards until none is left, and waits while other workers have the rest, in case one of
/// them dies. An idle worker takes a half of what is left of another's shard. The last one deletes
/// the extras, if the job does that, after all copies of all shards.
///
/// If the future is dropped or the process killed, other workers continue once its lease has
/// expired, or a later worker at once if there is no other. Of what was under way at most the parts
/// and small objects that were being sent are sent again.
///
/// # Errors
/// - `Conflict` if the plan of the job is not complete: plan it again.
/// - Those of [`Synchronize`](crate::Synchronize), and errors of the storage of the job.
#[must_use = "nothing is transferred until it is awaited"]
pub struct Work {
    job: Job,
    source: Directory,
    target: Directory,
    index: (u32, u32),
    stop: Stop,
    concurrency: Concurrency,
    bandwidth: Option<Bandwidth>,
    requests: Option<u64>,
    on_event: Option<OnEvent>,
    on_bytes: Option<OnBytes>,
    server_side: ServerSideCopy,
}

/// The result of a worker.
#[derive(Debug)]
#[non_exhaustive]
pub struct WorkSummary {
    /// The sums of the whole job, if it ended. Otherwise those of the shards of this worker.
    pub counts: Counts,
    /// How the work ended.
    pub ended: WorkEnded,
}

impl WorkSummary {
    /// Returns whether the job is done and every key is certain.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let Counts { failed, unknown, kept, .. } = self.counts;
        matches!(self.ended, WorkEnded::Done) && failed + unknown + kept == 0
    }
}

impl From<WorkSummary> for SyncSummary {
    /// Returns the same result in the form of a sync. A job that was cancelled is interrupted.
    fn from(work: WorkSummary) -> Self {
        let (ended, refused) = match work.ended {
            WorkEnded::Done => (Ended::Complete, None),
            WorkEnded::Refused(refusal) => (Ended::Complete, Some(refusal)),
            WorkEnded::Interrupted | WorkEnded::Cancelled => (Ended::Interrupted, None),
            WorkEnded::Broken(side, error) => (Ended::Broken(side, error), None),
        };
        Self { counts: work.counts, ended, refused }
    }
}

/// How a worker ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkEnded {
    /// All shards are done. Keys may have failed.
    Done,
    /// All shards are copied, and a guard refused to delete the extras.
    Refused(Refusal),
    /// [`Stop::stop`] was called. Another worker, or a later one, continues.
    Interrupted,
    /// The job was cancelled.
    Cancelled,
    /// The listing of a side broke off. A later worker continues.
    Broken(Side, Error),
}

/// How the work on one shard ended.
enum ShardEnded {
    Settled,
    /// The shard belongs to another worker, or the job was cancelled.
    Lost,
    Interrupted,
    Broken(Side, Error),
}

impl Work {
    pub(crate) fn new(job: Job, source: &Directory, target: &Directory) -> Self {
        Self {
            job,
            source: source.clone(),
            target: target.clone(),
            index: (0, 1),
            stop: Stop::new(),
            concurrency: Concurrency::default(),
            bandwidth: None,
            requests: None,
            on_event: None,
            on_bytes: None,
            server_side: ServerSideCopy::default(),
        }
    }

    /// Sets which of how many workers this one is, counted from 0, so that workers begin at
    /// different shards. Any worker does any shard, so a wrong number does no harm.
    pub fn index(mut self, index: u32, of: u32) -> Self {
        self.index = (index.min(of.saturating_sub(1)), of.max(1));
        self
    }

    /// Sets the handle that ends the work early.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Sets how many objects this worker handles at a time.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Limits the bytes per second that pass through this worker.
    pub fn bandwidth(mut self, bandwidth: Bandwidth) -> Self {
        self.bandwidth = Some(bandwidth);
        self
    }

    /// Limits the requests per second of this worker: see
    /// [`Synchronize::requests`](crate::Synchronize::requests).
    pub fn requests(mut self, per_second: u64) -> Self {
        self.requests = Some(per_second);
        self
    }

    /// Calls a function with what happened to each key.
    pub fn on_event(mut self, on_event: OnEvent) -> Self {
        self.on_event = Some(on_event);
        self
    }

    /// Calls a function with each number of bytes that has passed through this process.
    pub fn on_bytes(mut self, on_bytes: OnBytes) -> Self {
        self.on_bytes = Some(on_bytes);
        self
    }

    /// Sets the services that copy between two storages. Defaults to copies within one storage.
    pub fn server_side(mut self, server_side: ServerSideCopy) -> Self {
        self.server_side = server_side;
        self
    }

    async fn run(self) -> Result<WorkSummary> {
        let options = self.job.store.job().await?.value.spec.options()?;
        let mut shared = Shared::new(self.source.clone(), self.target.clone(), options);
        shared.gate = Arc::new(Gate::new(self.concurrency));
        shared.bandwidth = self.bandwidth;
        shared.requests = self.requests.map(Bandwidth::new);
        shared.on_event = self.on_event;
        shared.on_bytes = self.on_bytes;
        shared.server_side = self.server_side;
        shared.stop = self.stop;
        sync::check(&shared)?;
        let claims = Claims::new(self.job.store.clone(), self.job.lease, self.index)?;
        Worker { job: self.job, shared, claims, counts: Counts::default() }.run().await
    }
}

struct Worker {
    job: Job,
    shared: Shared,
    claims: Claims,
    /// The sums of the shards that this worker has settled.
    counts: Counts,
}

impl Worker {
    async fn run(mut self) -> Result<WorkSummary> {
        loop {
            if self.shared.stop.is_stopped() {
                return Ok(self.summary(WorkEnded::Interrupted));
            }
            let job = self.job.store.job().await?.value;
            match job.state {
                JobState::Planning => {
                    let message = "the plan of the job is not complete: run plan again";
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                JobState::Cancelled => return Ok(self.summary(WorkEnded::Cancelled)),
                JobState::Done => {
                    let counts = self.job.status().await?.counts;
                    return Ok(WorkSummary { counts, ended: WorkEnded::Done });
                }
                JobState::Refused => {
                    let counts = self.job.status().await?.counts;
                    let refused = job.refused.unwrap_or(Refusal::EmptySource);
                    return Ok(WorkSummary { counts, ended: WorkEnded::Refused(refused) });
                }
                JobState::Copying | JobState::Deleting => {}
            }
            match self.claims.next(&job).await? {
                Found::Shard(lease) => {
                    if let Some(ended) = self.shard(&job, &lease).await? {
                        return Ok(self.summary(ended));
                    }
                }
                Found::Settled(shards) => self.advance(&job, shards).await?,
                Found::Busy => self.wait(&job).await?,
            }
        }
    }

    fn summary(&self, ended: WorkEnded) -> WorkSummary {
        WorkSummary { counts: self.counts, ended }
    }

    /// Changes the state of a job whose shards are all settled.
    async fn advance(&self, job: &JobDocument, shards: Vec<ShardDocument>) -> Result<()> {
        // Shards of earlier passes say nothing about what the source has now.
        let of_pass = shards.into_iter().filter(|shard| shard.pass == job.pass);
        let counts = status::sum(&of_pass.collect::<Vec<_>>());
        let has_extras = self.shared.options.delete.is_some() && counts.extra > 0;
        if job.state != JobState::Copying || !has_extras {
            return self.change_state(job, JobState::Done, None).await;
        }
        match self.refusal(&counts).await? {
            None => self.change_state(job, JobState::Deleting, None).await,
            refused => self.change_state(job, JobState::Refused, refused).await,
        }
    }

    /// Changes the state, unless another worker has done so, also in a later pass.
    async fn change_state(
        &self,
        from: &JobDocument,
        to: JobState,
        refused: Option<Refusal>,
    ) -> Result<()> {
        let change = self.job.change(|job| {
            let is_current = job.state == from.state && job.pass == from.pass;
            if is_current {
                (job.state, job.refused) = (to, refused);
            }
            is_current
        });
        change.await
    }

    /// Returns why no extra may be deleted.
    async fn refusal(&self, counts: &Counts) -> Result<Option<Refusal>> {
        let options = &self.shared.options;
        let Some(delete) = options.delete else { return Ok(None) };
        match sync::refusal(options, delete, counts) {
            None if self.is_source_empty().await? => Ok(Some(Refusal::EmptySource)),
            refused => Ok(refused),
        }
    }

    /// Returns whether the source has no object now, although it had some when the shards were
    /// compared, and the options do not allow that.
    async fn is_source_empty(&self) -> Result<bool> {
        if self.shared.options.allow_empty_source {
            return Ok(false);
        }
        let source = &self.shared.source;
        let mut entries = source.storage().list(source.prefix().as_str()).entries();
        loop {
            match entries.next_object().await {
                Ok(object) => return Ok(object.is_none()),
                Err(error) if error.listing_continues() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Divides a shard of another worker, or waits for a moment.
    async fn wait(&mut self, job: &JobDocument) -> Result<()> {
        if job.state == JobState::Copying && self.claims.steal(job, &self.shared.source).await? {
            return Ok(());
        }
        let pause = (self.job.lease / 12).min(Duration::from_secs(5));
        tokio::select! {
            () = self.shared.stop.stopped() => {}
            () = tokio::time::sleep(pause) => {}
        }
        Ok(())
    }

    /// Works on a shard. Returns how the work of this worker ends, if it does.
    async fn shard(&mut self, job: &JobDocument, lease: &Arc<Lease>) -> Result<Option<WorkEnded>> {
        // Dropping the set ends the task, also if this future is dropped.
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(self.job.clone(), Arc::clone(lease), self.shared.stop.clone()));
        let ended = match job.state {
            JobState::Deleting => self.delete(job, lease).await,
            _ => self.copy(lease).await,
        };
        drop(keeper);
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // The shard is free for others at once. If that fails, its lease expires.
                let _ = lease.release().await;
                return Err(error);
            }
        };
        match ended {
            ShardEnded::Settled => {
                self.counts += lease.document().await.counts;
                Ok(None)
            }
            ShardEnded::Lost => Ok(None),
            ShardEnded::Interrupted => {
                lease.release().await?;
                Ok(Some(WorkEnded::Interrupted))
            }
            ShardEnded::Broken(side, error) => {
                lease.release().await?;
                Ok(Some(WorkEnded::Broken(side, error)))
            }
        }
    }

    async fn copy(&self, lease: &Arc<Lease>) -> Result<ShardEnded> {
        let mut shared = self.shared.clone();
        shared.uploads = Some(Arc::new(LeaseUploads(Arc::clone(lease))));
        loop {
            shared.stop = lease.stop();
            let ended = pass(&Arc::new(shared.clone()), lease).await?;
            if lease.is_lost() {
                return Ok(ShardEnded::Lost);
            }
            let ended = match ended {
                Ended::Broken(side, error) => ShardEnded::Broken(side, error),
                Ended::Interrupted if self.shared.stop.is_stopped() => ShardEnded::Interrupted,
                // Stores the rest, which may find that the range became shorter.
                Ended::Interrupted => ShardEnded::Settled,
                Ended::Complete => match lease.finish().await {
                    Ok(()) => ShardEnded::Settled,
                    Err(_) if lease.is_lost() => return Ok(ShardEnded::Lost),
                    Err(error) => return Err(error),
                },
            };
            let is_shorter = lease.rewind().await;
            if is_shorter && self.shared.stop.is_stopped() {
                return Ok(ShardEnded::Interrupted);
            }
            if !is_shorter {
                return Ok(ended);
            }
        }
    }

    /// Deletes the extras of a shard, file by file.
    async fn delete(&self, job: &JobDocument, lease: &Arc<Lease>) -> Result<ShardEnded> {
        if self.is_source_empty().await? {
            lease.release().await?;
            self.change_state(job, JobState::Refused, Some(Refusal::EmptySource)).await?;
            return Ok(ShardEnded::Lost);
        }
        let mut shared = self.shared.clone();
        shared.stop = lease.stop();
        let shard = lease.document().await;
        let is_safe = shard.counts.failed + shard.counts.unknown == 0;
        for file in &shard.extra_files {
            let extras: Vec<Extra> = self.job.store.records(&shard.id, Kind::Extra, *file).await?;
            let mut counts = Counts::default();
            if is_safe {
                let (unknown, failed_ranges) = (UnknownNames::default(), BTreeSet::new());
                let kept = Kept { unknown: &unknown, failed_ranges: &failed_ranges };
                let extras = stream::iter(extras.into_iter().map(Ok)).boxed();
                deletes::delete_extras(&shared, extras, &kept, &mut counts).await?;
                if shared.stop.is_stopped() {
                    return interrupted(lease, counts).await;
                }
            } else {
                // A copy that failed may be the new name of an object that is deleted here.
                counts.kept = extras.len() as u64;
            }
            let stored = lease.change(move |shard| {
                shard.extra_files.retain(|number| number != file);
                shard.counts += counts;
            });
            if let Err(error) = stored.await {
                return if lease.is_lost() { Ok(ShardEnded::Lost) } else { Err(error) };
            }
        }
        match lease.finish().await {
            Err(_) if lease.is_lost() => Ok(ShardEnded::Lost),
            finished => finished.map(|()| ShardEnded::Settled),
        }
    }
}

/// Stores what was deleted before the end. The rest of the file is looked at again.
async fn interrupted(lease: &Lease, counts: Counts) -> Result<ShardEnded> {
    if lease.is_lost() {
        return Ok(ShardEnded::Lost);
    }
    lease.change(move |shard| shard.counts += counts).await?;
    Ok(ShardEnded::Interrupted)
}

/// Handles the keys that earlier runs left behind the watermark, and then the rest of the range.
async fn pass(shared: &Arc<Shared>, lease: &Arc<Lease>) -> Result<Ended> {
    let aside = lease.aside();
    if !aside.is_empty() {
        let ledger = Arc::new(Ledger::default());
        let keys: Vec<Result<Key>> = aside.into_iter().map(Key::new).collect();
        let sides = (shared.source.clone(), shared.target.clone());
        let steps = Steps::keys(sides.0, sides.1, stream::iter(keys).boxed());
        match Pass::new(shared, Some(Arc::clone(&ledger))).run(steps).await? {
            Ended::Complete => lease.settle_aside(ledger.take()).await,
            ended => return Ok(ended),
        }
    }
    let shard = lease.document().await;
    let range = NameRange { after: shard.rest_after(), until: shard.until };
    let merge = Merge::begin(&shared.source, &shared.target, &range);
    let steps = Steps::listings_until(merge, lease.limit.clone());
    Pass::new(shared, Some(lease.ledger())).run(steps).await
}

/// Renews a lease until it is lost, the job is cancelled, or the work is to end.
async fn keep(job: Job, lease: Arc<Lease>, stop: Stop) {
    let interval = job.lease / 3;
    let look = interval.min(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = stop.stopped() => return lease.stop().stop(),
            () = tokio::time::sleep(look) => {}
        }
        let is_full = lease.ledger().records() > MAX_RECORDS;
        if lease.age() < interval && !is_full {
            continue;
        }
        let is_cancelled =
            job.store.job().await.is_ok_and(|job| job.value.state == JobState::Cancelled);
        let renewed = match is_cancelled {
            true => lease.release().await,
            false => lease.renew().await,
        };
        if let Err(error) = renewed {
            tracing::debug!("the state of a shard was not stored: {error}");
        }
        // Another worker may take the shard soon.
        if is_cancelled || lease.age() > job.lease * 2 / 3 {
            lease.lose();
        }
        if lease.is_lost() {
            return;
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("job", &self.job)
            .field("source", &self.source)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl IntoFuture for Work {
    type Output = Result<WorkSummary>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
