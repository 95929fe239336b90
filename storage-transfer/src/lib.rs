//! Copies, synchronises and verifies objects between any two storages.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
mod compare;
mod copy;
mod directory;
mod event;
mod filter;
mod headers;
#[cfg(feature = "inventory")]
mod inventory;
mod job;
mod key_list;
mod ledger;
mod listing;
mod merge;
mod retry;
mod sort;
mod spool;
mod steps;
mod stop;
mod sync;

pub use check::{
    Check, CheckBy, CheckSummary, OnVerdict, Verdict, VerdictCounts, VerdictEvent, check,
};
pub use compare::{Comparison, Evidence};
pub use copy::{
    Bandwidth, Copied, CopyMethod, LostMetadata, ObjectCopy, OnBytes, ServerSideCopy,
    UnfinishedCopy, UploadRecorder, copy,
};
pub use directory::Directory;
pub use event::{KeyEvent, OnEvent, Outcome};
pub use filter::{Filter, FilterBuilder};
pub use headers::HeaderRule;
#[cfg(feature = "inventory")]
pub use inventory::Inventory;
pub use job::{
    FailedKey, Job, JobSpec, JobState, JobStatus, ShardState, ShardStatus, Work, WorkEnded,
    WorkSummary,
};
pub use key_list::{KeyList, sort_keys};
pub use merge::Side;
pub use stop::Stop;
pub use sync::{
    Concurrency, Counts, DeleteExtras, Ended, Existing, MaxDelete, Refusal, SyncOptions,
    SyncSummary, Synchronize, sync,
};
