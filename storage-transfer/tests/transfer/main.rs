//! What copies, syncs and checks promise, shown between storages in memory and on disk, with
//! faults.
#![allow(clippy::unwrap_used, reason = "helpers are test code")]

mod checking;
mod comparing;
mod copying;
mod deleting;
mod doubles;
mod faults;
mod listed;
mod names;
mod property;
mod resuming;
mod stopping;
mod support;
mod syncing;
