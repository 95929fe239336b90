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
use crate::event::{OnEvent, Outcome};
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
use crate::sync::deletes::{self, Deleted, Kept};
use crate::sync::extras::Extra;
use crate::sync::gate::Gate;
use crate::sync::pass::Pass;
use crate::sync::shared::{Shared, Uploads};
use crate::sync::summary::{Counts, Ended, SyncSummary};
use crate::sync::unknown::UnknownNames;
use crate::sync::{self, Concurrency, Refusal};

/// How long a worker that is to end waits for what is under way and for the storage of the job. It
/// gives a pass time to end in good order.
const MAX_END: Duration = Duration::from_secs(9);
/// How often a shard begins again because its end could not be stored.
const MAX_FAILURES: u32 = 3;

/// A worker of a job that has not begun yet. Await it.
///
/// Claims shards until none is left, and waits while other workers have the rest, in case one of
/// them dies. An idle worker takes a half of what is left of another's shard. The last one deletes
/// the extras, if the job does that, after all copies of all shards.
///
/// If the future is dropped or the process killed, other workers continue once its lease has
/// expired. A worker on the same machine, if that runs Linux, continues at once when the process
/// has ended. Of what was under way at most the parts and small objects that were being sent are
/// sent again.
///
/// # Errors
/// - `Conflict`, which is retryable, if the plan of the job is not complete: run again when it is,
///   or plan it again.
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
    fn interrupted(counts: Counts) -> Self {
        Self { counts, ended: WorkEnded::Interrupted }
    }

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
        let stop = self.stop.clone();
        let spec = tokio::select! {
            biased;
            spec = self.job.spec() => spec?,
            () = overdue(&stop) => return Ok(WorkSummary::interrupted(Counts::default())),
        };
        let (options, lease) = (spec.options()?, spec.lease_or_default());
        let mut shared = Shared::new(self.source.clone(), self.target.clone(), options);
        shared.gate = Arc::new(Gate::new(self.concurrency));
        shared.bandwidth = self.bandwidth;
        shared.requests = self.requests.map(Bandwidth::new);
        shared.on_event = self.on_event;
        shared.on_bytes = self.on_bytes;
        shared.server_side = self.server_side;
        shared.stop = self.stop;
        sync::check(&shared)?;
        let claims = Claims::new(self.job.store.clone(), lease, self.index)?;
        let mut worker = Worker { job: self.job, lease, shared, claims, counts: Counts::default() };
        tokio::select! {
            biased;
            ended = worker.run() => return ended,
            () = overdue(&stop) => {}
        }
        // A storage that does not respond holds nothing up. The next worker finds the last state.
        Ok(WorkSummary::interrupted(worker.counts))
    }
}

/// Waits until a worker that is to end has had time for that.
async fn overdue(stop: &Stop) {
    stop.stopped().await;
    tokio::time::sleep(MAX_END).await;
}

struct Worker {
    job: Job,
    lease: Duration,
    shared: Shared,
    claims: Claims,
    /// The sums of the shards that this worker has settled.
    counts: Counts,
}

impl Worker {
    async fn run(&mut self) -> Result<WorkSummary> {
        loop {
            if self.shared.stop.is_stopped() {
                return Ok(self.summary(WorkEnded::Interrupted));
            }
            let job = self.job.store.job().await?.value;
            match job.state {
                JobState::Planning => {
                    let message = "the plan of the job is not complete: wait for it, or run plan \
                                   again, and then run this again";
                    return Err(Error::new(ErrorKind::Conflict, message).with_retryable(true));
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
            return self.change_state(job, JobState::Done, None).await.map(drop);
        }
        match self.refusal(&counts).await? {
            None => self.change_state(job, JobState::Deleting, None).await.map(drop),
            Some(refusal) => self.refuse(job, refusal).await,
        }
    }

    /// Ends the job without deletions, and reports the extras that are kept.
    async fn refuse(&self, job: &JobDocument, refusal: Refusal) -> Result<()> {
        if !self.change_state(job, JobState::Refused, Some(refusal)).await? {
            return Ok(());
        }
        for shard in self.job.store.shards().await? {
            let shard = shard.value;
            if shard.pass != job.pass || self.shared.on_event.is_none() {
                continue;
            }
            for file in &shard.extra_files {
                let extras = self.extras(&shard, *file).await?;
                let extras = stream::iter(extras.into_iter().map(Ok)).boxed();
                deletes::report_kept(&self.shared, extras, Outcome::Extra, refusal.reason())
                    .await?;
            }
        }
        Ok(())
    }

    async fn extras(&self, shard: &ShardDocument, file: u64) -> Result<Vec<Extra>> {
        self.job.store.records(&shard.id, Kind::Extra, file).await
    }

    /// Changes the state, unless another worker has done so, also in a later pass. Returns whether
    /// it was changed.
    async fn change_state(
        &self,
        from: &JobDocument,
        to: JobState,
        refused: Option<Refusal>,
    ) -> Result<bool> {
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
        match sync::refusal(options, delete, counts, counts.source_objects > 0) {
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
        let pause = (self.lease / 12).min(Duration::from_secs(5));
        tokio::select! {
            () = self.shared.stop.stopped() => {}
            () = tokio::time::sleep(pause) => {}
        }
        Ok(())
    }

    /// Works on a shard. Returns how the work of this worker ends, if it does.
    async fn shard(&mut self, job: &JobDocument, lease: &Arc<Lease>) -> Result<Option<WorkEnded>> {
        // Dropping the set ends the task, if this future is dropped.
        let (mut keeper, done) = (JoinSet::new(), Stop::new());
        let keep = Keeper {
            job: self.job.clone(),
            time: self.lease,
            lease: Arc::clone(lease),
            done: done.clone(),
        };
        keeper.spawn(keep.run(self.shared.stop.clone()));
        let ended = match job.state {
            JobState::Deleting => self.delete(job, lease).await,
            _ => self.copy(lease).await,
        };
        // Not dropped: the result of a save under way must be known before the next one.
        done.stop();
        keeper.join_next().await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // The shard is free for others at once. If that fails, its lease expires.
                lease.rewind().await;
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
            // If the shard cannot be returned, its lease expires.
            ShardEnded::Interrupted => {
                lease.rewind().await;
                let _ = lease.release().await;
                Ok(Some(WorkEnded::Interrupted))
            }
            ShardEnded::Broken(side, error) => {
                lease.rewind().await;
                let _ = lease.release().await;
                Ok(Some(WorkEnded::Broken(side, error)))
            }
        }
    }

    async fn copy(&self, lease: &Arc<Lease>) -> Result<ShardEnded> {
        let mut shared = self.shared.clone();
        shared.uploads = Some(Arc::new(LeaseUploads(Arc::clone(lease))));
        lease.delete_old_records().await;
        let mut failures = 0;
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
                Ended::Complete => match self.finish(lease).await {
                    Ok(()) => ShardEnded::Settled,
                    Err(_) if lease.is_lost() => return Ok(ShardEnded::Lost),
                    Err(error) if failures == MAX_FAILURES => return Err(error),
                    Err(error) => {
                        failures += 1;
                        if !lease.rewind().await {
                            return if lease.is_lost() { Ok(ShardEnded::Lost) } else { Err(error) };
                        }
                        if self.shared.stop.is_stopped() {
                            return Ok(ShardEnded::Interrupted);
                        }
                        continue;
                    }
                },
            };
            let is_shorter = lease.rewind().await;
            if lease.is_lost() {
                return Ok(ShardEnded::Lost);
            }
            if is_shorter && self.shared.stop.is_stopped() {
                return Ok(ShardEnded::Interrupted);
            }
            if !is_shorter {
                return Ok(ended);
            }
        }
    }

    /// Stores that all keys of a shard are settled.
    async fn finish(&self, lease: &Arc<Lease>) -> Result<()> {
        let uploads = LeaseUploads(Arc::clone(lease));
        for (name, unfinished) in lease.uploads() {
            if !self.shared.needs_upload(&name, &unfinished).await
                && self.shared.abort_upload(&name, &unfinished).await
            {
                uploads.finished(&name);
            }
        }
        lease.finish().await
    }

    /// Deletes the extras of a shard, file by file.
    async fn delete(&self, job: &JobDocument, lease: &Arc<Lease>) -> Result<ShardEnded> {
        if self.is_source_empty().await? {
            lease.release().await?;
            self.refuse(job, Refusal::EmptySource).await?;
            return Ok(ShardEnded::Lost);
        }
        let mut shared = self.shared.clone();
        shared.stop = lease.stop();
        shared.uploads = Some(Arc::new(LeaseUploads(Arc::clone(lease))));
        let shard = lease.document().await;
        let is_safe = shard.counts.failed + shard.counts.unknown == 0 && shard.unknown.is_empty();
        for file in &shard.extra_files {
            let extras = self.extras(&shard, *file).await?;
            let mut deleted = Deleted { failed: Some(Vec::new()), ..Deleted::default() };
            let (count, extras) = (extras.len(), stream::iter(extras.into_iter().map(Ok)).boxed());
            if is_safe {
                let (unknown, failed_ranges) = (UnknownNames::default(), BTreeSet::new());
                let kept = Kept { unknown: &unknown, failed_ranges: &failed_ranges };
                deletes::delete_extras(&shared, extras, &kept, &mut deleted).await?;
                if shared.stop.is_stopped() {
                    return interrupted(lease, &deleted).await;
                }
            } else {
                // A copy that failed may be the new name of an object that is deleted here.
                let reason = "a copy of a key near this one failed, or a part of a side is unknown";
                deletes::report_kept(&shared, extras, Outcome::Unknown, reason).await?;
                deleted.counts.kept = count as u64;
            }
            if let Err(error) = lease.settle_extras(Some(*file), &deleted).await {
                return if lease.is_lost() { Ok(ShardEnded::Lost) } else { Err(error) };
            }
        }
        match lease.finish().await {
            Err(_) if lease.is_lost() => Ok(ShardEnded::Lost),
            finished => finished.map(|()| ShardEnded::Settled),
        }
    }
}

/// Stores what was deleted before the end. The rest of the file is looked at again, which counts
/// what failed or was kept.
async fn interrupted(lease: &Lease, deleted: &Deleted) -> Result<ShardEnded> {
    if lease.is_lost() {
        return Ok(ShardEnded::Lost);
    }
    let counts = Counts { deleted: deleted.counts.deleted, ..Counts::default() };
    match lease.settle_extras(None, &Deleted { counts, failed: None }).await {
        Err(_) if lease.is_lost() => Ok(ShardEnded::Lost),
        // What is not stored is looked at again, and is gone then.
        _ => Ok(ShardEnded::Interrupted),
    }
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

/// Renews a lease while a worker has it.
struct Keeper {
    job: Job,
    /// The time of the lease.
    time: Duration,
    lease: Arc<Lease>,
    /// Ends the keeper, between two saves.
    done: Stop,
}

impl Keeper {
    /// Renews the lease until it is lost, the job is cancelled, or the work on the shard is done.
    /// Ends the pass if the work is to end, also while the storage does not respond.
    async fn run(self, stop: Stop) {
        let stopping = async {
            stop.stopped().await;
            self.lease.stop().stop();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.renew() => {}
            () = stopping => {}
        }
    }

    async fn renew(&self) {
        let interval = self.time / 3;
        let look = interval.min(Duration::from_secs(1));
        let mut is_failing = false;
        loop {
            let ledger = self.lease.ledger();
            tokio::select! {
                () = self.done.stopped() => return,
                () = tokio::time::sleep(look) => {}
                () = ledger.filled(), if !is_failing => {}
            }
            if self.lease.age() < interval && !self.lease.is_full() {
                continue;
            }
            is_failing = self.store().await.is_err();
            if self.lease.is_lost() {
                return;
            }
        }
    }

    /// Stores the state of the shard. Gives the lease up if the job was cancelled, or if that has
    /// failed for too long.
    async fn store(&self) -> Result<()> {
        let job = self.job.store.job().await;
        let is_cancelled = job.is_ok_and(|job| job.value.state == JobState::Cancelled);
        let stored = match is_cancelled {
            true => self.lease.release().await,
            false => self.lease.renew().await,
        };
        if let Err(error) = &stored {
            tracing::debug!("the state of a shard was not stored: {error}");
        }
        // Another worker may take the shard soon.
        if is_cancelled || self.lease.age() > self.time * 2 / 3 {
            self.lease.lose();
        }
        stored
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
