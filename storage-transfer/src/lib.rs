//! Copies, synchronises and verifies objects between any two storages.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod filter;
mod key_list;

pub use filter::{Filter, FilterBuilder};
pub use key_list::KeyList;
