//! [`Claims`]: finds shards that are free, expired, or large enough to be divided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use storage_core::{ETag, Result};
use tokio::time::Instant;

use crate::directory::Directory;
use crate::job::documents::{JobDocument, JobState, ShardDocument, ShardState};
use crate::job::lease::Lease;
use crate::job::store::{Document, Store};
use crate::job::{nonce, split};

/// The shards of a job as a worker has seen them.
#[derive(Debug)]
pub(crate) struct Claims {
    store: Store,
    owner: String,
    lease: Duration,
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
        Ok(Self { store, owner: nonce()?, lease, start, seen: BTreeMap::new() })
    }

    /// Claims a shard that needs work.
    pub(crate) async fn next(&mut self, job: &JobDocument) -> Result<Found> {
        self.refresh().await?;
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
            let is_free = shard.owner.is_none() || shard.pass < job.pass;
            if !is_free && seen.since.elapsed() < self.lease {
                is_busy = true;
                continue;
            }
            let shard = seen.shard.clone();
            match Lease::claim(&self.store, shard, job.pass, &self.owner).await? {
                Some(lease) => return Ok(Found::Shard(lease)),
                // Another worker was faster.
                None => is_busy = true,
            }
        }
        // A shard that was cut off after the listing has no document here yet.
        if is_busy || !self.knows_all_children() {
            return Ok(Found::Busy);
        }
        let settled = self.seen.values().map(|seen| &seen.shard.value);
        Ok(Found::Settled(settled.filter(|shard| self.counts(shard)).cloned().collect()))
    }

    /// Takes the second half of what is left of a shard that another worker has. Returns whether
    /// there is a new shard.
    pub(crate) async fn steal(&mut self, job: &JobDocument, source: &Directory) -> Result<bool> {
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
            let mut child = ShardDocument::new(id.clone(), Some(cut.clone()), rest.1);
            child.parent = Some(shard.value.id.clone());
            child.pass = job.pass;
            self.store.create_shard(&child).await?;
            let mut parent = shard;
            parent.value.until = Some(cut);
            parent.value.children.push(id.clone());
            parent.value.seq += 1;
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

    /// Returns whether a shard counts: one that was cut off does if its parent names it.
    fn counts(&self, shard: &ShardDocument) -> bool {
        let Some(parent) = &shard.parent else { return true };
        let names = |seen: &Seen| seen.shard.value.children.contains(&shard.id);
        self.seen.get(parent).is_some_and(names)
    }

    fn knows_all_children(&self) -> bool {
        let children = self.seen.values().flat_map(|seen| &seen.shard.value.children);
        children.into_iter().all(|id| self.seen.contains_key(id))
    }

    /// Reads the documents that have changed since the last look.
    async fn refresh(&mut self) -> Result<()> {
        let ids = self.store.shard_ids().await?;
        let listed: BTreeSet<&str> = ids.iter().map(|(id, _)| id.as_str()).collect();
        self.seen.retain(|id, _| listed.contains(id.as_str()));
        for (id, etag) in &ids {
            if !self.is_current(id, etag.as_ref()) {
                let shard = match self.store.shard(id).await {
                    Ok(shard) => shard,
                    // Deleted since it was listed.
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error),
                };
                match self.seen.get_mut(id).filter(|seen| seen.shard.value == shard.value) {
                    // The ETag of a file that another program wrote becomes strong after a while.
                    Some(seen) => seen.shard.etag = shard.etag,
                    None => {
                        self.seen.insert(id.clone(), Seen { shard, since: Instant::now() });
                    }
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
