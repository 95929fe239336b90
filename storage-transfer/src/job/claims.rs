//! [`Claims`]: finds shards that are free, expired, or large enough to be divided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use storage_core::{ETag, Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::directory::Directory;
use crate::job::documents::{JobDocument, JobState, ShardDocument, ShardState};
use crate::job::lease::Lease;
use crate::job::process::Process;
use crate::job::store::{Document, Store};
use crate::job::{Job, nonce, split};

/// The shards of a job as a worker has seen them.
#[derive(Debug)]
pub(crate) struct Claims {
    store: Store,
    process: Option<Process>,
    owner: String,
    lease: Duration,
    max_shards: usize,
    /// Where this worker begins to look, as a fraction of all shards.
    start: f64,
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    shard: Document<ShardDocument>,
    /// When this version was seen first, on the clock of this process: the clocks of other machines
    /// do not matter.
    since: Instant,
}

/// What a worker found.
#[derive(Debug)]
pub(crate) enum Found {
    Shard(Arc<Lease>),
    /// Other workers have all that is left.
    Busy,
    /// All shards are settled. Contains their documents.
    Settled(Vec<ShardDocument>),
}

impl Claims {
    pub(crate) fn new(store: Store, lease: Duration, (index, of): (u32, u32)) -> Result<Self> {
        let start = f64::from(index) / f64::from(of.max(1));
        let process = Process::current();
        let owner = Process::owner(process.as_ref(), &nonce()?);
        let (max_shards, seen) = (Job::MAX_SHARDS, BTreeMap::new());
        Ok(Self { store, process, owner, lease, max_shards, start, seen })
    }

    /// Claims a shard that needs work.
    pub(crate) async fn next(&mut self, job: &JobDocument) -> Result<Found> {
        self.refresh(job).await?;
        let needed = match job.state {
            JobState::Deleting => ShardState::Copied,
            _ => ShardState::Open,
        };
        let ids: Vec<_> = self.seen.keys().cloned().collect();
        let start = (ids.len() as f64 * self.start) as usize;
        let mut is_busy = false;
        for id in ids[start..].iter().chain(&ids[..start]) {
            let Some(seen) = self.seen.get(id) else { continue };
            let shard = &seen.shard.value;
            if shard.pass > job.pass {
                // The job was read before a new pass began.
                is_busy = true;
                continue;
            }
            let state = shard.clone().in_pass(job.pass).state;
            if state != needed || !job.includes(shard) || !self.counts(shard) {
                continue;
            }
            if shard.pass == job.pass && !self.is_free(seen) {
                is_busy = true;
                continue;
            }
            let shard = seen.shard.clone();
            match Lease::claim(&self.store, shard, job.pass, (&self.owner, self.lease)).await? {
                Some(lease) => return Ok(Found::Shard(lease)),
                // Another worker was faster.
                None => is_busy = true,
            }
        }
        if is_busy || self.has_new_child().await? {
            return Ok(Found::Busy);
        }
        let settled = self.seen.values().map(|seen| &seen.shard.value);
        let settled: Vec<_> = settled.filter(|shard| self.counts(shard)).cloned().collect();
        check_all_keys_have_shards(&settled)?;
        Ok(Found::Settled(settled))
    }

    /// Takes the second half of what is left of a shard that another worker has. Returns whether
    /// there is a new shard.
    pub(crate) async fn steal(&mut self, job: &JobDocument, source: &Directory) -> Result<bool> {
        if self.seen.len() >= self.max_shards {
            return Ok(false);
        }
        let others = self.seen.values().filter(|seen| {
            let shard = &seen.shard.value;
            shard.owner.is_some()
                && shard.pass == job.pass
                && shard.state == ShardState::Open
                && job.includes(shard)
        });
        let others: Vec<_> = others.map(|seen| seen.shard.clone()).collect();
        for shard in others {
            let rest = (shard.value.rest_after(), shard.value.until.clone());
            let Some(cut) = split::middle(source, rest.0.as_deref(), rest.1.as_deref()).await?
            else {
                continue;
            };
            let id = format!("{}-{}", shard.value.id, nonce()?);
            let mut parent = shard;
            let child = parent.value.cut_off(cut, id.clone());
            self.store.create_shard(&child).await?;
            let parent_id = parent.value.id.clone();
            if self.store.replace_shard(parent).await?.is_some() {
                return Ok(true);
            }
            // The owner has stored its state meanwhile, or the response to an attempt was lost: the
            // document shows whether the child counts.
            if self.store.shard(&parent_id).await?.value.children.contains(&id) {
                return Ok(true);
            }
            self.store.delete_shard(&id).await?;
        }
        Ok(false)
    }

    /// Returns whether a shard has no worker, or one that is gone.
    fn is_free(&self, seen: &Seen) -> bool {
        let Some(owner) = &seen.shard.value.owner else { return true };
        seen.since.elapsed() >= self.lease
            || self.process.as_ref().is_some_and(|process| process.knows_end_of(owner))
    }

    /// Returns whether a shard counts: one that was cut off does if its parent names it.
    fn counts(&self, shard: &ShardDocument) -> bool {
        let Some(parent) = &shard.parent else { return true };
        let names = |seen: &Seen| seen.shard.value.children.contains(&shard.id);
        self.seen.get(parent).is_some_and(names)
    }

    /// Returns whether there is a shard that was cut off after the listing.
    ///
    /// # Errors
    /// `Integrity` if the document of a shard that was cut off is lost. It is created before the
    /// other shard names it, and is never deleted afterwards.
    async fn has_new_child(&self) -> Result<bool> {
        let children = self.seen.values().flat_map(|seen| &seen.shard.value.children);
        let unknown: Vec<_> = children.filter(|id| !self.seen.contains_key(*id)).collect();
        for id in &unknown {
            match self.store.shard(id).await {
                Err(error) if error.is_not_found() => return Err(lost_shard(id)),
                found => found.map(drop)?,
            }
        }
        Ok(!unknown.is_empty())
    }

    /// Reads the documents that have changed since the last look.
    ///
    /// # Errors
    /// `Conflict` if there is a shard of another job.
    async fn refresh(&mut self, job: &JobDocument) -> Result<()> {
        let ids = self.store.shard_ids().await?;
        let listed: BTreeSet<&str> = ids.iter().map(|(id, _)| id.as_str()).collect();
        self.seen.retain(|id, _| listed.contains(id.as_str()));
        let changed = ids.iter().filter(|(id, etag)| !self.is_current(id, etag.as_ref()));
        let changed = changed.map(|(id, _)| id.clone()).collect();
        for shard in self.store.shards_of_ids(job, changed).await? {
            let id = &shard.value.id;
            match self.seen.get_mut(id).filter(|seen| seen.shard.value == shard.value) {
                // The ETag of a file that another program wrote becomes strong after a while.
                Some(seen) => seen.shard.etag = shard.etag,
                None => {
                    self.seen.insert(id.clone(), Seen { shard, since: Instant::now() });
                }
            }
        }
        Ok(())
    }

    fn is_current(&self, id: &str, etag: Option<&ETag>) -> bool {
        let seen = self.seen.get(id);
        seen.zip(etag).is_some_and(|(seen, etag)| seen.shard.etag.strong_eq(etag))
    }
}

/// Fails with `Integrity` if the document of a shard was lost, so that its keys would be forgotten:
/// each shard begins where another one ends.
fn check_all_keys_have_shards(shards: &[ShardDocument]) -> Result<()> {
    let mut ranges: Vec<_> = shards.iter().map(|shard| (&shard.after, &shard.until)).collect();
    ranges.sort();
    let mut end = &None;
    for (position, (after, until)) in ranges.iter().enumerate() {
        if *after != end || (position > 0 && end.is_none()) {
            return Err(lost_range(end));
        }
        end = until;
    }
    match (ranges.is_empty(), end) {
        (false, None) => Ok(()),
        _ => Err(lost_range(end)),
    }
}

fn lost_range(after: &Option<String>) -> Error {
    lost_shard(&format!("with the keys after {:?}", after.as_deref().unwrap_or_default()))
}

fn lost_shard(which: &str) -> Error {
    let message = format!("the document of the shard {which} is missing: plan another job");
    Error::new(ErrorKind::Integrity, message)
}

#[cfg(test)]
mod tests {
    use storage_core::Memory;

    use super::*;
    use crate::{Job, JobSpec, SyncOptions};

    /// Plans a job of one shard with 4,000 objects.
    async fn planned() -> (Directory, Store, JobDocument) {
        let (source, state) = (Memory::storage(), Memory::storage());
        for number in 0..4_000 {
            source.save(format!("{number:05}"), "").await.unwrap();
        }
        let from = Directory::new(&source, "").unwrap();
        let to = Directory::new(&Memory::storage(), "").unwrap();
        let at = Directory::new(&state, "job").unwrap();
        let spec = JobSpec::new("a:", "b:", &SyncOptions::new());
        let store = Job::plan(&at, spec, (&from, &to), 1).await.unwrap().store;
        let job = store.job().await.unwrap().value;
        (from, store, job)
    }

    fn claims(store: &Store) -> Claims {
        Claims::new(store.clone(), Duration::from_secs(60), (0, 1)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_has_slept_knows_that_it_may_have_lost_its_shard() {
        let (_, store, job) = planned().await;
        let found = claims(&store).next(&job).await.unwrap();
        let Found::Shard(lease) = found else { panic!("{found:?}") };
        assert!(lease.is_held() && !lease.stop().is_stopped());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!lease.is_held() && lease.stop().is_stopped());
    }

    #[tokio::test]
    async fn a_job_gets_no_more_shards_than_it_may_have() {
        let (from, store, job) = planned().await;
        assert!(matches!(claims(&store).next(&job).await.unwrap(), Found::Shard(_)));

        let mut other = Claims { max_shards: 2, ..claims(&store) };
        for expected in [true, false] {
            other.refresh(&job).await.unwrap();
            assert_eq!(other.steal(&job, &from).await.unwrap(), expected);
        }
        assert_eq!(store.shards(&job).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_job_fails_if_the_document_of_a_shard_that_was_cut_off_is_lost() {
        let (_, store, job) = planned().await;
        let mut shard = store.shard("00000").await.unwrap();
        let child = shard.value.cut_off("02000".to_owned(), "00000-lost".to_owned());
        shard.value.state = ShardState::Done;
        store.replace_shard(shard).await.unwrap().unwrap();
        let mut claims = claims(&store);
        let error = claims.next(&job).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.message().contains("00000-lost"), "{error}");
        store.create_shard(&child).await.unwrap().unwrap();
        assert!(matches!(claims.next(&job).await.unwrap(), Found::Shard(_)));
    }

    #[tokio::test]
    async fn a_worker_refuses_a_shard_that_another_job_has_left() {
        let (_, store, job) = planned().await;
        let left = ShardDocument::new("an earlier job", "00007".to_owned(), None, None);
        store.create_shard(&left).await.unwrap();
        let error = claims(&store).next(&job).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("rm -r"), "{error}");
    }
}
