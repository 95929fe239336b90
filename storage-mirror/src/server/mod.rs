//! The mirror server: everything that concerns HTTP.
//!
//! | module | job |
//! |---|---|
//! | `listen`, `clients`, `paced` | sockets, threads and shutdown; connections per client; slow clients |
//! | `site` | the routes, and the access to them |
//! | `website` | the paths of a website, if the mirror serves one |
//! | `delivery`, `sources` | responses for objects, and the bytes that they read |
//! | `admin`, `status`, `metrics`, `prefetch` | responses for operators |
//! | `responses` | responses that several routes share |
//! | `records`, `access_log`, `analytics` | the counters, the access log and the analytics of requests |
//! | `record` | the record of one request, and the outcomes |
//! | `forwarded` | the client's address behind a proxy |
//! | `price` | the price of traffic |
//! | `config`, `check` | the options; checking whether a mirror can start |
//!
//! The objects come from the [engine](crate::engine), which has no HTTP types.

mod access_log;
mod admin;
mod analytics;
mod check;
mod clients;
mod config;
mod delivery;
mod forwarded;
mod listen;
mod metrics;
mod paced;
mod prefetch;
mod price;
mod record;
mod records;
mod responses;
mod site;
mod sources;
mod status;
mod utc;
mod website;

pub use analytics::{Day, ExportFormat, export};
pub use check::check;
pub use config::{MirrorConfig, Ttl};
pub use listen::{Handle, Server};
