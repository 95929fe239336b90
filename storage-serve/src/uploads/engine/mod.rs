//! The engine: an upload as a state in the storage, without a protocol.
//!
//! An upload is one object, its [`State`], which every change replaces on the condition that no
//! other request has changed it. Whole parts go to the multipart upload at fixed numbers. A tail
//! that is shorter than a part is an object of its own until the part is full.
//!
//! | file | content |
//! |-|-|
//! | `state.rs` | [`State`]: the object of an upload |
//! | `store.rs` | reading and conditional saving of states, and the objects of rests |
//! | `failure.rs` | [`Failure`]: why a request fails |
//! | `turns.rs` | the newest request of this process on an upload continues |
//! | `begin.rs` | beginning and removing an upload |
//! | `append.rs`, `gather.rs`, `checksum.rs` | the body of a request becomes parts and a rest |
//! | `sending.rs` | the parts of a request that are being stored |
//! | `detached.rs` | work that does not end with the future of its request |
//! | `budget.rs`, `part_buffer.rs` | the memory for bytes that are not stored yet |
//! | `finish.rs` | completing an upload |
//! | `accept.rs`, `content.rs` | from a complete object to a visible one: type, application, promotion |
//! | `direct.rs` | an upload whose parts a client stores by itself |
//! | `concatenate.rs` | an upload whose bytes are those of others |
//! | `open_uploads.rs` | how many uploads of a group are open |
//! | `sweep.rs` | removing expired uploads |

mod accept;
mod append;
mod begin;
mod budget;
mod checksum;
mod concatenate;
mod content;
mod detached;
mod direct;
mod failure;
mod finish;
mod gather;
mod open_uploads;
mod part_buffer;
mod sending;
mod state;
mod store;
mod sweep;
mod turns;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use storage_core::Storage;

pub(super) use append::{Append, End};
pub(super) use begin::Beginning;
pub(super) use checksum::{ALGORITHMS, ExpectedChecksum};
pub(super) use concatenate::Partial;
pub(super) use direct::{Incomplete, NamedPart};
pub(super) use failure::Failure;
pub(super) use state::{Concat, State};
pub(super) use store::Loaded;

use super::completed::CompletedUpload;
use super::grant::Refusal;
use budget::Budget;
use detached::Detached;
use open_uploads::GroupLocks;
use store::StateStore;
use turns::Turns;

/// The function of the application that decides about each complete object.
#[derive(Clone)]
pub(super) struct OnComplete(
    pub(super) Arc<dyn Fn(CompletedUpload) -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync>,
);

/// What every upload of a service shares.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) storage: Storage,
    pub(super) states: StateStore,
    /// The size of parts in bytes, or `None` for the choice of the storage.
    pub(super) part_size: Option<u64>,
    pub(super) idle_timeout: Duration,
    pub(super) on_complete: Option<OnComplete>,
    budget: Budget,
    turns: Turns,
    groups: GroupLocks,
}

impl Engine {
    pub(super) fn new(storage: Storage, memory_kib: u32, idle_timeout: Duration) -> Self {
        Self {
            states: StateStore::new(storage.clone()),
            storage,
            part_size: None,
            idle_timeout,
            on_complete: None,
            budget: Budget::new(memory_kib),
            turns: Turns::default(),
            groups: GroupLocks::default(),
        }
    }

    pub(super) fn set_memory(&mut self, memory_kib: u32) {
        self.budget = Budget::new(memory_kib);
    }

    /// Runs to its end even if the future is dropped: a server may drop the future of a request
    /// whose client disconnects.
    pub(super) async fn detached<T, F, Fut>(&self, work: F) -> Result<T, Failure>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        Detached::new(work(self.clone())).await
    }
}

impl fmt::Debug for OnComplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnComplete")
    }
}
