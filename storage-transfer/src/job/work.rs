//! [`Work`]: a worker of a job, with its options and its result.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use storage_core::{Error, Result};

use crate::copy::{Bandwidth, OnBytes, ServerSideCopy};
use crate::directory::Directory;
use crate::event::{OnActivity, OnEvent};
use crate::job::Job;
use crate::job::claims::Claims;
use crate::job::worker::Worker;
use crate::merge::Side;
use crate::stop::Stop;
use crate::sync::gate::Gate;
use crate::sync::shared::Shared;
use crate::sync::summary::{Counts, Ended, SyncSummary};
use crate::sync::{self, Concurrency, Refusal};

/// How long a worker that is to end waits for what is under way and for the storage of the job. It
/// gives a pass time to end in good order.
const MAX_END: Duration = Duration::from_secs(9);

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
/// - `Conflict` if the place of the job and a side contain each other, as in
///   [`Job::plan`](crate::Job::plan).
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
    on_activity: Option<OnActivity>,
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
        matches!(self.ended, WorkEnded::Done) && [failed, unknown, kept] == [0; 3]
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
            WorkEnded::Unavailable(error) => (Ended::Unavailable(error), None),
        };
        Self { counts: work.counts, ended, refused, failed_temporarily: 0 }
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
    /// Several keys in a row failed temporarily after all their attempts, the last one with this
    /// error. They are not settled: a later worker tries them again.
    Unavailable(Error),
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
            on_activity: None,
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

    /// Calls a function when the work on a key begins, and when it has ended. Keys whose listings
    /// decide what to do, without a copy, do not begin.
    pub fn on_activity(mut self, on_activity: OnActivity) -> Self {
        self.on_activity = Some(on_activity);
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
        self.job.store.check_place((&self.source, &self.target), &options.filter)?;
        let mut shared = Shared::new(self.source.clone(), self.target.clone(), options);
        shared.gate = Arc::new(Gate::new(self.concurrency));
        shared.bandwidth = self.bandwidth;
        shared.requests = self.requests.map(Bandwidth::new);
        shared.on_event = self.on_event;
        shared.on_activity = self.on_activity;
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
