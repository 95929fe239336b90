//! Copies, synchronises and verifies objects between any two storages.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod filter;
#[cfg(feature = "inventory")]
mod inventory;
mod key_list;
// Some of it is for the engine of sync only.
#[allow(dead_code, unused_imports)]
mod sort;
#[allow(dead_code)]
mod spool;

pub use filter::{Filter, FilterBuilder};
#[cfg(feature = "inventory")]
pub use inventory::Inventory;
pub use key_list::KeyList;
