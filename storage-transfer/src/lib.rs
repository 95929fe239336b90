//! Copies, synchronises and verifies objects between any two storages.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod filter;

pub use filter::{Filter, FilterBuilder};
