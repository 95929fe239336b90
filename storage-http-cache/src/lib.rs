//! The driver `http-cache`: mirror first, origin on any trouble.
//!
//! | file | what it is about |
//! |---|---|
//! | `cache`, `config` | the driver, and its options |
//! | `open`, `body` | reading: from a mirror, from origin, and from one into the other |
//! | `write` | saving, deleting, copying, and the purges after them |
//! | `link` | which links lead to the mirror |
//! | `mirror`, `client`, `headers` | one mirror: what is thought of it, the requests to it, its answers |
//! | `breaker` | whether a mirror is asked at all |
//! | `bypass` | the keys that a mirror is not asked for, since what it has may be old |
//! | `known` | what origin said a short while ago |
//! | `rendezvous` | which mirror a key belongs to |
//! | `status` | counts, metrics |
//!
//! # Options
//!
//! <!-- options of http-cache -->
//! <!-- end of options -->
//!
//! Every driver also takes `prefix`, `read_only`, `public_url`, `timeout`, `retries` and
//! `default_headers` ([`CommonOptions`](storage_core::config::CommonOptions)).

mod body;
mod breaker;
mod bypass;
mod cache;
mod client;
mod config;
mod headers;
mod known;
mod link;
mod mirror;
mod open;
mod rendezvous;
mod status;
mod write;

pub use breaker::MirrorState;
pub use cache::HttpCache;
pub use config::{HttpCacheBuilder, OnSave, Verify, register};
pub use status::{MirrorStatus, Status};
