//! [`Job`]: a transfer whose state is in a storage, so that any number of workers share it, and any
//! of them may die at any moment.
//!
//! The state is documents below a directory:
//!
//! | document | |
//! |-|-|
//! | `job.json` | what is transferred, and the state of the whole |
//! | `shards/<id>.json` | a range of keys: its lease, its watermark, its uploads under way, its sums |
//! | `failed/<id>/<n>.jsonl` | keys that failed, one JSON object on each line |
//! | `extra/<id>/<n>.jsonl` | objects that the source lacks, if the job deletes |
//!
//! A worker claims a shard by a conditional save, goes through its range, and stores the watermark
//! every few seconds. A shard whose document does not change for some time is claimed by another
//! worker. The lease only avoids double work. What keeps a worker that lost its lease from
//! overwriting anything newer are the conditions of the copies: on the version of the source, and
//! on the object of the destination.

mod claims;
mod documents;
mod keeper;
mod lease;
mod process;
mod records;
mod spec;
mod split;
mod status;
mod store;
mod work;
mod worker;

use std::collections::BTreeSet;
use std::time::Duration;

use storage_core::{Error, ErrorKind, ObjectMeta, Result, keys};

pub use documents::{JobState, ShardState};
pub use spec::JobSpec;
pub use status::{JobStatus, ShardStatus};
pub use work::{Work, WorkEnded, WorkSummary};

pub use crate::ledger::FailedKey;

use crate::directory::Directory;
use crate::merge::Side;
use documents::{JobDocument, ShardDocument};
use records::Kind;
use store::Store;

/// Where the shards of a new job begin.
enum Borders {
    /// So many shards, by probing the listing.
    Probe(usize),
    Known(Vec<String>),
}

/// A transfer whose state is in a storage.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use storage_transfer::{Directory, Job, JobSpec, SyncOptions};
///
/// # let (media, backup, state) = (storage_core::Memory::storage(), storage_core::Memory::storage(), storage_core::Memory::storage());
/// media.save("a.txt", "hello").await?;
/// let (from, to) = (Directory::new(&media, "")?, Directory::new(&backup, "")?);
/// let at = Directory::new(&state, "jobs/nightly")?;
///
/// let spec = JobSpec::new("media:", "backup:", &SyncOptions::new());
/// let job = Job::plan(&at, spec, (&from, &to), 4).await?;
/// // Any number of processes may do this:
/// let summary = job.work(&from, &to).await?;
/// assert_eq!((summary.counts.new, summary.is_done()), (1, true));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Job {
    store: Store,
}

impl Job {
    /// The most shards that a job can be divided into.
    pub const MAX_SHARDS: usize = 10_000;

    /// Creates a job: finds borders of shards of about equal size in the listing of the source, and
    /// stores the documents. Transfers nothing.
    ///
    /// If there is a job of the same specification at this place, returns that one. It keeps the
    /// longer lease of both.
    ///
    /// # Errors
    /// - `Conflict` if there is a job of another specification, or if the place of the job and a
    ///   side contain each other. The filter may exclude the place from a side.
    /// - `Unsupported` if the storage of the job has no conditional saves.
    /// - `InvalidInput` if the number of shards is 0 or more than [`MAX_SHARDS`](Self::MAX_SHARDS),
    ///   or if the options are those of a dry run.
    /// - Errors of the listing and of the storage. Call it again.
    pub async fn plan(
        at: &Directory,
        spec: JobSpec,
        sides: (&Directory, &Directory),
        shards: usize,
    ) -> Result<Self> {
        Self::plan_with(at, spec, sides, Borders::Probe(shards)).await
    }

    /// Creates a job as [`plan`](Self::plan) does, with these borders of shards, such as those of
    /// an inventory. The borders may be out of date: each object belongs to exactly one shard in
    /// any case.
    ///
    /// # Errors
    /// As `plan`.
    pub async fn plan_with_borders(
        at: &Directory,
        spec: JobSpec,
        sides: (&Directory, &Directory),
        borders: Vec<String>,
    ) -> Result<Self> {
        Self::plan_with(at, spec, sides, Borders::Known(borders)).await
    }

    async fn plan_with(
        at: &Directory,
        spec: JobSpec,
        (source, target): (&Directory, &Directory),
        borders: Borders,
    ) -> Result<Self> {
        let shards = match &borders {
            Borders::Probe(shards) => *shards,
            Borders::Known(borders) => borders.len() + 1,
        };
        if !(1..=Self::MAX_SHARDS).contains(&shards) {
            let message = format!("{shards} shards: choose 1 to {}", Self::MAX_SHARDS);
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if spec.dry_run {
            let message = "a job cannot be a dry run: use a sync without a job";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let job = Self { store: Store::new(at)? };
        let options = spec.options()?;
        options.comparison.check(source, target)?;
        job.store.check_place((source, target), &options.filter)?;
        match job.store.job_if_any().await? {
            Some(found) => {
                found.value.spec.check_same(&spec)?;
                job.change(|job| job.spec.extend_lease(&spec)).await?;
            }
            None => job.store.create_job(&JobDocument::new(spec)?).await?,
        }
        job.write_plan(source, borders).await?;
        Ok(job)
    }

    /// Stores the borders, then the documents of the shards, and then that the plan is complete.
    ///
    /// A crash may end this anywhere, and two processes may do it at once: the borders that were
    /// stored first count.
    async fn write_plan(&self, source: &Directory, borders: Borders) -> Result<()> {
        let mut found = None;
        loop {
            let mut job = self.store.job().await?;
            if job.value.state != JobState::Planning {
                return Ok(());
            }
            if let Some(borders) = job.value.borders.take() {
                self.write_shards(&job.value, &borders).await?;
                job.value.state = JobState::Copying;
            } else {
                if found.is_none() {
                    found = Some(match &borders {
                        Borders::Probe(shards) => split::borders(source, *shards).await?,
                        Borders::Known(borders) => {
                            borders.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
                        }
                    });
                }
                job.value.borders.clone_from(&found);
            }
            // Another process may have been faster; the next round finds out.
            self.store.replace_job(job).await?;
        }
    }

    /// Opens a job.
    ///
    /// # Errors
    /// `NotFound` if there is none at this place. `Unsupported` if its storage has no conditional
    /// saves.
    pub async fn open(at: &Directory) -> Result<Self> {
        let job = Self { store: Store::new(at)? };
        job.store.job().await?;
        Ok(job)
    }

    /// Returns what is transferred.
    ///
    /// # Errors
    /// Errors of the storage of the job.
    pub async fn spec(&self) -> Result<JobSpec> {
        Ok(self.store.job().await?.value.spec)
    }

    /// Works on the job until it is done: see [`Work`].
    pub fn work(&self, source: &Directory, target: &Directory) -> Work {
        Work::new(self.clone(), source, target)
    }

    /// Ends the job: its workers stop when they store their state the next time.
    /// [`resume`](Self::resume) continues it.
    ///
    /// # Errors
    /// Errors of the storage of the job.
    pub async fn cancel(&self) -> Result<()> {
        self.change(|job| {
            if job.state == JobState::Cancelled {
                return false;
            }
            job.cancelled_in = Some(job.state);
            job.was_done = matches!(job.state, JobState::Done | JobState::Refused);
            job.state = JobState::Cancelled;
            true
        })
        .await
        .map(drop)
    }

    /// Continues a job that was cancelled. Of a job that is done, the shards with failures are
    /// opened again, or all shards if nothing failed: a new pass finds what has changed since.
    ///
    /// # Errors
    /// Errors of the storage of the job.
    pub async fn resume(&self) -> Result<()> {
        self.begin_again(true).await
    }

    /// Begins a new pass of all shards if the job has ended. A job that was cancelled continues,
    /// and one that others work on is left as it is.
    ///
    /// # Errors
    /// Errors of the storage of the job.
    pub async fn next_pass(&self) -> Result<()> {
        self.begin_again(false).await
    }

    async fn begin_again(&self, only_failures: bool) -> Result<()> {
        loop {
            let mut job = self.store.job().await?;
            match job.value.state {
                JobState::Cancelled if !job.value.was_done => {
                    job.value.state = job.value.state_before_cancel();
                }
                JobState::Done if only_failures => {
                    let failed = self.shards_with_failures(&job.value).await?;
                    job.value.begin_pass(failed);
                }
                // The extras of all shards are to be looked at again.
                JobState::Cancelled | JobState::Done | JobState::Refused => {
                    job.value.begin_pass(None);
                }
                JobState::Planning | JobState::Copying | JobState::Deleting => return Ok(()),
            }
            if self.store.replace_job(job).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Returns the ids of the shards with failures, or `None` if there are none.
    async fn shards_with_failures(&self, job: &JobDocument) -> Result<Option<Vec<String>>> {
        let shards = self.store.shards(job).await?;
        let has_failures = |shard: &ShardDocument| {
            shard.counts.failed + shard.counts.unknown + shard.counts.kept > 0
        };
        let failed = shards.into_iter().map(|shard| shard.value).filter(has_failures);
        let failed: Vec<_> = failed.map(|shard| shard.id).collect();
        Ok(if failed.is_empty() { None } else { Some(failed) })
    }

    /// Returns the state of the job and of its shards.
    ///
    /// # Errors
    /// Errors of the storage of the job.
    pub async fn status(&self) -> Result<JobStatus> {
        let job = self.store.job().await?;
        Ok(JobStatus::new(&job.value, &self.store.shards(&job.value).await?))
    }

    /// Calls a function with each key that failed in the last pass.
    ///
    /// # Errors
    /// Errors of the storage of the job.
    pub async fn failed(&self, mut each: impl FnMut(FailedKey)) -> Result<()> {
        let job = self.store.job().await?;
        for shard in self.store.shards(&job.value).await? {
            if !job.value.includes(&shard.value) {
                continue;
            }
            for number in &shard.value.failed_files {
                let failed = self.store.records(&shard.value.id, Kind::Failed, *number).await;
                match failed {
                    Ok(failed) => failed.into_iter().for_each(&mut each),
                    // A new pass has begun meanwhile.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Stores the shards that are not stored yet.
    ///
    /// # Errors
    /// `Conflict` if there is a shard of another job.
    async fn write_shards(&self, job: &JobDocument, borders: &[String]) -> Result<()> {
        self.store.shards(job).await?;
        let begins = [None].into_iter().chain(borders.iter().cloned().map(Some));
        let ends = borders.iter().cloned().map(Some).chain([None]);
        let shards = begins.zip(ends).enumerate().map(|(number, (after, until))| {
            ShardDocument::new(&job.id, format!("{number:05}"), after, until)
        });
        self.store.create_shards(shards.collect()).await
    }

    /// Changes the job, if the function returns that it has done so. Returns whether it has.
    async fn change(&self, change: impl Fn(&mut JobDocument) -> bool) -> Result<bool> {
        loop {
            let mut job = self.store.job().await?;
            if !change(&mut job.value) {
                return Ok(false);
            }
            if self.store.replace_job(job).await?.is_some() {
                return Ok(true);
            }
        }
    }

    /// Returns what a plan should warn about: a source without the versions that continuing inside
    /// a file needs, and a destination without the conditions that keep two workers from harming
    /// each other. Looks at one object of the source.
    ///
    /// # Errors
    /// Errors of the listing and of the lookup.
    pub async fn warnings(
        source: &Directory,
        target: &Directory,
    ) -> Result<Vec<(Side, &'static str)>> {
        let capabilities = target.storage().info().capabilities;
        let mut warnings = Vec::new();
        if lacks_versions(source).await? {
            let text = "the source has no strong ETags: a large file does not continue in the middle \
                        after a worker has died, and a copy may be of a later version than the one \
                        that was compared";
            warnings.push((Side::Source, text));
        }
        if !capabilities.create_new {
            let text = "the destination has no create_new: a worker that lost its lease may replace \
                        an object that another program has saved meanwhile";
            warnings.push((Side::Target, text));
        }
        if !capabilities.save_if_match {
            let text = "the destination has no if_match: an object that another program replaces \
                        during the run may be overwritten";
            warnings.push((Side::Target, text));
        }
        Ok(warnings)
    }
}

/// Returns whether the objects of a directory have no strong ETags, by its first object.
async fn lacks_versions(source: &Directory) -> Result<bool> {
    let Some(object) = source.first_object().await? else { return Ok(false) };
    match source.storage().stat(&object.key).await {
        Ok(meta) => Ok(match &meta.etag {
            None => true,
            // The ETag of a file is weak for a moment after a change.
            Some(etag) => etag.is_weak() && !is_new(&meta),
        }),
        // The objects of the job are copied one by one, and this one may fail alone.
        Err(error) if !error.is_retryable() => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_new(object: &ObjectMeta) -> bool {
    let age = object.last_modified.map(|modified| modified.elapsed());
    age.is_some_and(|age| age.is_err() || age.is_ok_and(|age| age < Duration::from_secs(60)))
}

/// Returns a random text that identifies a worker or a job.
fn nonce() -> Result<String> {
    let bytes = keys::random_bytes::<8>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
