//! Copies, synchronises and verifies objects between any two storages.
//!
//! Applications enable the feature `transfer` of the crate `anystorage`. The commands `anystorage
//! sync`, `check` and `transfer` are made of this crate.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use storage_transfer::{CheckBy, Directory, SyncOptions, check, sync};
//!
//! # let (media, backup) = (storage_core::Memory::storage(), storage_core::Memory::storage());
//! media.save("2026/a.txt", "hello").await?;
//! let (from, to) = (Directory::new(&media, "")?, Directory::new(&backup, "media")?);
//! assert!(sync(&from, &to, SyncOptions::new()).await?.is_complete());
//! assert!(check(&from, &to).by(CheckBy::Download).await?.is_same());
//! # Ok(()) }
//! ```
//!
//! # Contents
//!
//! | function or type | purpose |
//! |---|---|
//! | [`copy()`], [`ObjectCopy`] | copies one object: by the service, as a stream, or in parts that can be continued |
//! | [`sync()`], [`SyncOptions`] | makes a directory have what another one has |
//! | [`check()`], [`CheckBy`] | compares two directories, with a verdict for each key |
//! | [`Job`], [`JobSpec`], [`Work`] | a sync whose state is in a storage, for any number of workers |
//! | [`Directory`], [`Filter`], [`HeaderRule`], [`KeyList`] | what is transferred |
//! | [`Comparison`], [`Counts`], [`KeyEvent`] | how objects are compared, and what happened |
//! | [`Stop`], [`Bandwidth`], [`Concurrency`], [`ServerSideCopy`] | limits, and copies that the service makes |
//! | `Inventory` | S3 Inventory as a source of keys, with the feature `inventory` |
//!
//! Memory is bounded at any number and size of objects: listings are merged as sorted streams, and
//! what must be kept until the end is in temporary files. Everything runs on a Tokio runtime.

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
mod moment;
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
pub use event::{Activity, KeyEvent, OnActivity, OnEvent, OnRemaining, Outcome, Remaining};
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
