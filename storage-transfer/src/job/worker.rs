//! [`Worker`]: claims the shards of a job, copies them, and deletes the extras at the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Key, Result};
use tokio::task::JoinSet;

use crate::event::Outcome;
use crate::job::claims::{Claims, Found};
use crate::job::documents::{JobDocument, JobState, ShardDocument};
use crate::job::keeper::Keeper;
use crate::job::lease::{Lease, LeaseUploads};
use crate::job::records::Kind;
use crate::job::work::{WorkEnded, WorkSummary};
use crate::job::{Job, status};
use crate::ledger::{Ledger, MAX_RECORDS};
use crate::listing::NameRange;
use crate::merge::{Merge, Side};
use crate::steps::Steps;
use crate::stop::Stop;
use crate::sync::deletes::{self, Deleted, Kept};
use crate::sync::extras::Extra;
use crate::sync::pass::Pass;
use crate::sync::shared::{Shared, Uploads};
use crate::sync::summary::{Counts, Ended};
use crate::sync::unknown::UnknownNames;
use crate::sync::{self, Refusal};

/// How often a shard begins again because its end could not be stored.
const MAX_FAILURES: u32 = 3;

/// How many workers may end at the same keys of a shard, which fail temporarily although both sides
/// can be listed. Then they are settled as failures, so that the job ends.
const MAX_UNAVAILABLE: u32 = 3;

/// How many keys that moved aside are handled at a time. Their ledger has room for all of their
/// records, because nothing takes them before the last key is settled.
const ASIDE_AT_ONCE: usize = MAX_RECORDS / 10;

/// How the work on one shard ended.
enum ShardEnded {
    Settled,
    /// The shard belongs to another worker, or the job was cancelled.
    Lost,
    Interrupted,
    Broken(Side, Error),
    /// Contains whether both sides could be listed.
    Unavailable(Error, bool),
}

/// Works on the shards of a job, one after the other.
pub(crate) struct Worker {
    pub(crate) job: Job,
    /// The time of a lease.
    pub(crate) lease: Duration,
    pub(crate) shared: Shared,
    pub(crate) claims: Claims,
    /// The sums of the shards that this worker has settled.
    pub(crate) counts: Counts,
}

impl Worker {
    /// Works until no shard is left, or the work is to end.
    pub(crate) async fn run(&mut self) -> Result<WorkSummary> {
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
        let (of_pass, of_earlier): (Vec<_>, Vec<_>) =
            shards.into_iter().partition(|shard| shard.pass == job.pass);
        let mut counts = status::sum(&of_pass);
        // A pass of some shards is a part of the job, whose objects decide what may be deleted.
        let earlier = status::sum(&of_earlier);
        counts.source_objects += earlier.source_objects;
        counts.target_objects += earlier.target_objects;
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
        for shard in self.job.store.shards(job).await? {
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
        Ok(self.shared.source.first_object().await?.is_none())
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
        let mut have_responded = false;
        let ended = match ended {
            ShardEnded::Settled => {
                self.counts += lease.document().await.counts;
                return Ok(None);
            }
            ShardEnded::Lost => return Ok(None),
            ShardEnded::Interrupted => WorkEnded::Interrupted,
            ShardEnded::Broken(side, error) => WorkEnded::Broken(side, error),
            ShardEnded::Unavailable(error, responded) => {
                have_responded = responded;
                WorkEnded::Unavailable(error)
            }
        };
        // If the shard cannot be returned, its lease expires.
        lease.rewind().await;
        let _ = match have_responded {
            true => lease.release_unavailable().await,
            false => lease.release().await,
        };
        Ok(Some(ended))
    }

    async fn copy(&self, lease: &Arc<Lease>) -> Result<ShardEnded> {
        let mut shared = self.shared.clone();
        shared.uploads = Some(Arc::new(LeaseUploads(Arc::clone(lease))));
        lease.delete_old_records().await;
        let mut failures = 0;
        loop {
            shared.stop = lease.stop();
            let (ended, have_responded) = pass(&Arc::new(shared.clone()), lease).await?;
            if lease.is_lost() {
                return Ok(ShardEnded::Lost);
            }
            let ended = match ended {
                Ended::Broken(side, error) => ShardEnded::Broken(side, error),
                Ended::Unavailable(error) => ShardEnded::Unavailable(error, have_responded),
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
    match lease.settle_extras(None, &Deleted { counts, ..Deleted::default() }).await {
        Err(_) if lease.is_lost() => Ok(ShardEnded::Lost),
        // What is not stored is looked at again, and is gone then.
        _ => Ok(ShardEnded::Interrupted),
    }
}

/// Handles the keys that earlier runs left behind the watermark, and then the rest of the range.
/// Also returns whether both sides could be listed, if a service seems to be unavailable.
async fn pass(shared: &Arc<Shared>, lease: &Arc<Lease>) -> Result<(Ended, bool)> {
    let settles_all = lease.document().await.unavailable >= MAX_UNAVAILABLE;
    let begin = |ledger| {
        let mut pass = Pass::new(shared, Some(ledger));
        if settles_all {
            pass.settle_all();
        }
        pass
    };
    loop {
        let aside = lease.aside(ASIDE_AT_ONCE);
        if aside.is_empty() {
            break;
        }
        let (count, ledger) = (aside.len(), Arc::new(Ledger::default()));
        let keys: Vec<Result<Key>> = aside.into_iter().map(Key::new).collect();
        let sides = (shared.source.clone(), shared.target.clone());
        let keys = shared.limited_lookups(stream::iter(keys).boxed());
        let steps = Steps::keys(sides.0, sides.1, keys);
        let mut pass = begin(Arc::clone(&ledger));
        match pass.run(steps).await? {
            Ended::Complete => lease.settle_aside(count, ledger.take()).await,
            ended => return Ok((ended, pass.have_responded())),
        }
    }
    let shard = lease.document().await;
    let range = NameRange { after: shard.rest_after(), until: shard.until };
    let merge = Merge::begin(&shared.source, &shared.target, &range);
    let steps = Steps::listings_until(merge, lease.limit.clone());
    let mut pass = begin(lease.ledger());
    Ok((pass.run(steps).await?, pass.have_responded()))
}
