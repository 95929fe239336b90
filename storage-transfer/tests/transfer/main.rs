//! What copies, syncs and checks promise, shown between storages in memory and on disk, with
//! faults.

mod copying;
mod doubles;
mod resuming;
mod support;
