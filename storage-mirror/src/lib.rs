//! The mirror: a bounded, checked disk cache that fills itself from any storage, its origin.
//!
//! One engine has two users:
//!
//! - [`cache`] is the driver `cache`: the cache inside the application's process.
//! - [`Server`] is a server with sockets, routes, an access log and analytics. A [`MirrorConfig`]
//!   and a storage configure it. It requires the feature `server`, which is enabled by default.
//!
//! # Guarantees
//! - Concurrent requests for one object share one request to origin, and receive the object while
//!   it arrives. The fetch continues if the first client disconnects.
//! - Only complete objects are stored, after their length and any checksums that origin reports are
//!   compared. Each block is compared with its own checksum when it is read from the disk. A broken
//!   object is fetched again.
//! - The headers of origin set how long an object is served without a request to origin (RFC 9111).
//!   Without such headers, the option `ttl` applies. For the driver `cache`, `ttl` is also an upper
//!   bound.
//! - **Without `signing_key`, the server shows every object under `allow` to everyone**,
//!   regardless of the permissions at origin.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod cache;
// The driver uses only a part of it.
#[cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
mod engine;
#[cfg(feature = "server")]
mod server;
#[cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
mod store;

#[cfg(feature = "server")]
pub use server::{Day, ExportFormat, Handle, MirrorConfig, Server, Ttl, check, export};
