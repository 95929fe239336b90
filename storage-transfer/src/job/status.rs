//! [`JobStatus`]: the state of a job, for people and programs.

use serde::Serialize;

use crate::job::documents::{JobDocument, JobState, ShardDocument, ShardState};
use crate::job::store::Document;
use crate::sync::summary::Counts;

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobStatus {
    /// The name of the source.
    pub source: String,
    /// The name of the destination.
    pub target: String,
    /// The state of the whole.
    pub state: JobState,
    /// The number of the pass, counted from 1.
    pub pass: u64,
    /// The sums of all shards.
    pub counts: Counts,
    /// The shards, in no order of their keys.
    pub shards: Vec<ShardStatus>,
}

/// The state of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShardStatus {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: ShardState,
    /// Whether a worker has claimed it. The worker may be gone.
    pub is_claimed: bool,
    /// Its keys are those after this one.
    pub after: Option<String>,
    /// Its last key.
    pub until: Option<String>,
    /// Up to which key everything is settled.
    pub watermark: Option<String>,
    /// Its sums.
    pub counts: Counts,
}

impl JobStatus {
    pub(crate) fn new(job: &JobDocument, shards: &[Document<ShardDocument>]) -> Self {
        let counts = |shard: &&Document<ShardDocument>| {
            let parent = shard.value.parent.as_ref();
            parent.is_none_or(|id| {
                shards.iter().any(|other| {
                    other.value.id == *id && other.value.children.contains(&shard.value.id)
                })
            })
        };
        let shards: Vec<_> = shards
            .iter()
            .filter(counts)
            .map(|shard| {
                let shard = shard.value.clone();
                if job.includes(&shard) { shard.in_pass(job.pass) } else { shard }
            })
            .collect();
        Self {
            source: job.spec.source.clone(),
            target: job.spec.target.clone(),
            state: job.state,
            pass: job.pass,
            counts: sum(&shards),
            shards: shards.into_iter().map(ShardStatus::new).collect(),
        }
    }
}

impl ShardStatus {
    fn new(shard: ShardDocument) -> Self {
        Self {
            id: shard.id,
            state: shard.state,
            is_claimed: shard.owner.is_some(),
            after: shard.after,
            until: shard.until,
            watermark: shard.watermark,
            counts: shard.counts,
        }
    }
}

/// Returns the sums of shards.
pub(crate) fn sum(shards: &[ShardDocument]) -> Counts {
    let mut counts = Counts::default();
    for shard in shards {
        counts += shard.counts;
    }
    counts
}
