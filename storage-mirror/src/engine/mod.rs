//! The engine: a disk cache that fills itself from an origin. The server and the driver `cache`
//! both use it. It has no listener, no routes and no HTTP types.
//!
//! | module | job |
//! |---|---|
//! | `lookup` | [`Engine`]: finds a version of an object, in the store or at origin; purges |
//! | `shared` | the options, and what the engine and its fetches share |
//! | `fetches` | the fetches under way, at most one for each key; their states |
//! | `fetch_task` | one request to origin: receives an object and writes it to the store |
//! | `progress` | an object that is arriving, as its readers see it |
//! | `version`, `body` | one version of an object; reading it, wherever its bytes are |
//! | `fill` | fetching an object ahead of requests |
//! | `write` | a write at origin, which removes what it replaces from the cache |
//! | `origin` | parts of a version, from origin |
//! | `freshness` | how long an object is served without a request to origin (RFC 9111) |
//! | `uncertain` | keys that bypass the cache after a write with an uncertain outcome |
//! | `counters`, `off_thread` | what is counted; work that blocks |
//!
//! The [store](crate::store) is below: it has the files, and is synchronous.

mod body;
mod counters;
mod fetch_task;
mod fetches;
mod fill;
mod freshness;
mod lookup;
mod off_thread;
mod origin;
mod progress;
mod shared;
mod uncertain;
mod version;
mod write;

pub(crate) use counters::Counter;
pub(crate) use fill::Filled;
pub(crate) use freshness::{DEFAULT_TTL, FreshnessPolicy, Matches, Rule};
pub(crate) use lookup::{CacheStatus, Engine, Lookup};
pub(crate) use off_thread::drop_off_thread;
pub(crate) use origin::log_failure;
pub(crate) use shared::{Clock, EngineOptions, StalePolicy};
pub(crate) use version::Version;
pub(crate) use write::Write;
