//! The mirror: a bounded, checked disk cache that fills itself from any storage.
//!
//! One engine has two users:
//!
//! - [`cache`] is the driver `cache`: the cache inside an application's own process.
//! - [`Server`] is a server with sockets, routes, an access log and analytics. It is set up by a
//!   [`MirrorConfig`] and a storage, its origin. The feature `server` (a default) contains it.
//!
//! # Guarantees
//! - One request goes to origin for all concurrent requests of one object. The other requests read
//!   along, from the first byte that has arrived. The fetch goes on if the client leaves that
//!   caused it.
//! - Only whole objects are kept. The length is compared, and the checksums if origin reports any.
//!   What is kept is compared with its own checksums whenever it is read, and fetched again if it
//!   is broken.
//! - Origin decides how long an object is served without a request to origin (RFC 9111). If origin
//!   does not, the option `ttl` does.
//! - **Without `signing_key`, the server shows every object under `allow` to everyone**, whatever
//!   origin's own permissions are.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod cache;
// The server uses all of it, the driver a part.
#[cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
mod engine;
#[cfg(feature = "server")]
mod server;
#[cfg_attr(not(feature = "server"), allow(dead_code, unused_imports))]
mod store;

#[cfg(feature = "server")]
pub use server::{Day, ExportFormat, Handle, MirrorConfig, Server, Ttl, check, export};
