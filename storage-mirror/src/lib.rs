//! The mirror server: keeps an origin's objects on a disk, and fills itself on the first request.
//!
//! [`Server`] is all of it, set up by a [`MirrorConfig`] and a storage that is the origin.
//!
//! # What it promises
//! - Of many who ask for the same at once, one goes to origin; the others read along, from the
//!   first byte that is there. That the first leaves stops nothing.
//! - Nothing is kept that is not whole: the length is checked, and checksums where origin tells
//!   them. What is kept is compared with checksums of its own whenever it is read, and fetched
//!   again when it is broken.
//! - How long it is served origin says (RFC 9111); where origin says nothing, the option `ttl`.
//! - **Without `signing_key`, every object under `allow` is public**, whatever origin thinks of it.

mod access_log;
mod admin;
mod analytics;
mod check;
mod clients;
mod config;
mod counters;
mod delivery;
mod flight;
mod forwarded;
mod freshness;
mod listen;
mod mirror;
mod off_thread;
mod paced;
mod record;
mod site;
mod status;
pub(crate) mod store;
mod version;

pub use analytics::{Day, ExportFormat, export};
pub use check::check;
pub use config::{MirrorConfig, Ttl};
pub use listen::{Handle, Server};
