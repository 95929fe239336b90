//! The documents of a job, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage_core::{Error, ErrorKind, Result};

use crate::copy::UnfinishedCopy;
use crate::job::nonce;
use crate::job::spec::JobSpec;
use crate::sync::summary::{Counts, Refusal};

/// The version of the format. A worker refuses documents of another one.
pub(crate) const FORMAT: u32 = 1;

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobState {
    /// The borders of the shards are not stored yet.
    Planning,
    /// Shards are compared and copied.
    Copying,
    /// All shards are copied, and extras are deleted.
    Deleting,
    /// All shards are done. Keys may have failed.
    Done,
    /// All shards are copied, and a guard refused to delete the extras.
    Refused,
    /// The job was cancelled.
    Cancelled,
}

/// The state of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ShardState {
    /// Its keys are compared and copied.
    #[default]
    Open,
    /// All its keys are settled; its extras are not deleted yet.
    Copied,
    /// Nothing is left to do.
    Done,
}

/// `job.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobDocument {
    pub(crate) format: u32,
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) spec: JobSpec,
    /// Counted from 1. A shard of an earlier pass begins again.
    pub(crate) pass: u64,
    pub(crate) state: JobState,
    /// The borders of the shards, until the documents of all shards exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) borders: Option<Vec<String>>,
    /// The state in which the job was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled_in: Option<JobState>,
    /// Why extras are kept, if the state is `Refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<Refusal>,
    /// Whether the job was done when it was cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) was_done: bool,
    /// The shards of this pass, unless it has all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) only_shards: Option<Vec<String>>,
}

impl JobDocument {
    pub(crate) fn new(spec: JobSpec) -> Result<Self> {
        Ok(Self {
            format: FORMAT,
            id: nonce()?,
            spec,
            pass: 1,
            state: JobState::Planning,
            borders: None,
            cancelled_in: None,
            refused: None,
            was_done: false,
            only_shards: None,
        })
    }

    /// Begins a pass of these shards, or of all. Other shards keep their result.
    pub(crate) fn begin_pass(&mut self, only_shards: Option<Vec<String>>) {
        self.pass += 1;
        self.state = JobState::Copying;
        self.was_done = false;
        self.refused = None;
        self.only_shards = only_shards;
    }

    pub(crate) fn state_before_cancel(&self) -> JobState {
        self.cancelled_in.unwrap_or(JobState::Copying)
    }

    /// Returns whether the shard belongs to the current pass.
    pub(crate) fn includes(&self, shard: &ShardDocument) -> bool {
        self.only_shards.as_ref().is_none_or(|shards| {
            shards.iter().any(|id| shard.id == *id || shard.id.starts_with(&format!("{id}-")))
        })
    }
}

/// `shards/<id>.json`: the keys after one name, up to and including another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardDocument {
    pub(crate) format: u32,
    /// The id of the job. An earlier job at the same place may have left documents.
    pub(crate) job: String,
    pub(crate) id: String,
    /// The shard that this one was cut off from. It counts only if that shard names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    /// The shards that were cut off from this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) children: Vec<String>,
    #[serde(default)]
    pub(crate) pass: u64,
    #[serde(default)]
    pub(crate) state: ShardState,
    /// Counts the claims.
    #[serde(default)]
    pub(crate) epoch: u64,
    /// Counts the saves, so that every save changes the ETag.
    #[serde(default)]
    pub(crate) seq: u64,
    /// The worker that has claimed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// All keys up to this one are settled, except those in `aside`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) watermark: Option<String>,
    /// Keys up to the watermark that are still under way, because they take long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aside: Vec<String>,
    /// The uploads of large objects that are not complete.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) uploads: BTreeMap<String, UnfinishedCopy>,
    /// Names that were counted as unknown, also by the shard that this one was cut off from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown: Vec<String>,
    #[serde(default)]
    pub(crate) counts: Counts,
    /// How often a worker of this pass ended because its keys failed temporarily although both
    /// sides could be listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) unavailable: u32,
    /// The numbers of the files with failures and with extras.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed_files: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) extra_files: Vec<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl ShardDocument {
    pub(crate) fn new(job: &str, id: String, after: Option<String>, until: Option<String>) -> Self {
        Self {
            format: FORMAT,
            job: job.to_owned(),
            id,
            parent: None,
            children: Vec::new(),
            pass: 1,
            state: ShardState::Open,
            epoch: 0,
            seq: 0,
            owner: None,
            after,
            until,
            watermark: None,
            aside: Vec::new(),
            uploads: BTreeMap::new(),
            unknown: Vec::new(),
            counts: Counts::default(),
            unavailable: 0,
            failed_files: Vec::new(),
            extra_files: Vec::new(),
        }
    }

    /// Refuses a shard that an earlier job has left at the same place: its keys would count as
    /// settled.
    ///
    /// # Errors
    /// `Conflict`.
    pub(crate) fn check_job(&self, job: &JobDocument) -> Result<()> {
        if self.job == job.id {
            return Ok(());
        }
        let message = "there are documents of another job at the place of this one: remove all of \
                       them (rm -r), or use another place";
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Begins the shard again if it is of an earlier pass. Its uploads are kept.
    pub(crate) fn in_pass(mut self, pass: u64) -> Self {
        if self.pass < pass {
            self.pass = pass;
            self.state = ShardState::Open;
            self.watermark = None;
            self.aside.clear();
            self.unknown.clear();
            self.counts = Counts::default();
            self.unavailable = 0;
            self.failed_files.clear();
            self.extra_files.clear();
        }
        self
    }

    /// Cuts off the keys after a name, with their uploads. The child has this id.
    pub(crate) fn cut_off(&mut self, cut: String, id: String) -> Self {
        let mut child = Self::new(&self.job, id.clone(), Some(cut.clone()), self.until.take());
        child.parent = Some(self.id.clone());
        child.pass = self.pass;
        child.unknown.clone_from(&self.unknown);
        let uploads = std::mem::take(&mut self.uploads).into_iter();
        (self.uploads, child.uploads) = uploads.partition(|(name, _)| *name <= cut);
        self.until = Some(cut);
        self.children.push(id);
        self.seq += 1;
        child
    }

    /// Returns the name after which the rest begins.
    pub(crate) fn rest_after(&self) -> Option<String> {
        self.watermark.clone().or_else(|| self.after.clone())
    }
}
