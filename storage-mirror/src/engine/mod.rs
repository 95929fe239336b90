//! The engine: a disk cache that fills itself from an origin. The server and the driver `cache` use
//! it. It has no listener, no routes and no HTTP types.
//!
//! | module | job |
//! |---|---|
//! | `lookup` | [`Engine`]: finds a version of an object, in the store or at origin; purges |
//! | `shared` | the options, and the state that the engine and its fetches share |
//! | `fetches` | the running fetches, at most one for each key; their states |
//! | `fetch_task` | one request to origin: receives an object and writes it to the store |
//! | `progress` | an object that is arriving, shared with its readers |
//! | `version`, `body` | one version of an object; reading it from the store, while it arrives, or from origin |
//! | `fill` | fetching an object ahead of requests |
//! | `write` | a write at origin, which removes the replaced objects from the cache |
//! | `origin` | reading parts of a version at origin |
//! | `freshness` | how long an object is served without a request to origin (RFC 9111) |
//! | `uncertain` | keys that bypass the cache after a write with an uncertain outcome |
//! | `counters`, `off_thread` | counters; work that blocks |
//!
//! The engine keeps the files in a [store](crate::store), which is synchronous.

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
pub(crate) use fill::FillOutcome;
pub(crate) use freshness::{DEFAULT_TTL, FreshnessPolicy, Matches, Rule};
pub(crate) use lookup::{CacheStatus, Engine, Lookup};
pub(crate) use off_thread::drop_off_thread;
pub(crate) use origin::log_failure;
pub(crate) use shared::{Clock, EngineOptions, StalePolicy};
pub(crate) use version::Version;
pub(crate) use write::Write;
