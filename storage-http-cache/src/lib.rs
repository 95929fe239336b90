//! The driver `http-cache`: reads objects from a mirror, and from their origin if the mirror fails.
//!
//! [`HttpCache`] is the driver, [`HttpCacheBuilder`] its options. The mirror is a caching HTTP
//! server, such as the one of `storage-mirror` or nginx; the origin is any storage. The driver
//! `cache` of `storage-mirror` is the alternative without a server: it caches on the application's
//! own disk.
//!
//! # Guarantees
//!
//! - **The mirror is optional.** If it does not respond in time, responds with an error, or breaks
//!   off a body, the object comes from origin. A circuit breaker stops requests to a mirror that
//!   fails repeatedly.
//! - **One version.** A body that breaks off continues at origin, at the next byte of the same
//!   version, or ends with a retryable `Integrity` error. It never contains bytes of two versions.
//! - **A process reads its own writes.** From before a write until each mirror has confirmed a purge,
//!   the key bypasses the mirrors, even if the write failed or its future was dropped.
//! - **`stat`, `exists` and `list` read from origin.** Only `open` may return an older version, for as
//!   long as the mirror considers it fresh.
//! - **No credential** appears in an error, a `Debug` form or a log line. Tokens and signed URLs are
//!   hidden.
//!
//! # Options
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `mirror` | required | URL of the mirror, or a list of URLs |
//! | `origin` | required | name of another storage, or a table |
//! | `verify` | `cache-tier` | how to find out whether the mirror has an object: see [`Verify`] |
//! | `memo` | `120s` | how long responses of origin and of verifications are remembered |
//! | `header_timeout` | `1s` | time for connecting and for the headers of a response |
//! | `idle_timeout` | `10s` | time between two chunks of a body |
//! | `token` | none | bearer token for the mirror's admin routes |
//! | `allow_http` | `false` | permits sending the token without TLS |
//! | `on_save` | `purge` with a token, else `none` | what the mirror does after a save: see [`OnSave`] |
//! | `min_size` | `0` | objects with fewer bytes skip the mirror once their size is known |
//! | `signing_key` | none | the mirror's key; links to the mirror are signed with it |
//! | `public` | `false` | permits plain links to the mirror for objects that origin would sign |
//! | `breaker_failures` | `5` | consecutive failures that open the circuit breaker |
//! | `breaker_open` | `30s` | how long it stays open the first time |
//! | `key_penalty` | `20s` | how long a key skips the mirror after a failed request |
//! | `admin` | the mirror | base URL of the admin routes |
//!
//! # Limits
//!
//! - Other processes may read an old version from the mirror until it is purged or expires.
//! - A process that ends does not repeat its unconfirmed purges.
//! - Without a `token` nothing is purged: a written key bypasses the mirror for one hour, in the
//!   process that wrote it.
//! - Links to the mirror need `public`, `signing_key` or a public origin.
//!
//! # Example
//!
//! ```
//! use storage_core::{Memory, Storage};
//! use storage_http_cache::HttpCache;
//!
//! let mirror = "https://downloads.example.com/".parse()?;
//! let cache = HttpCache::builder(vec![mirror], Memory::storage()).token("secret").build()?;
//! let storage = Storage::new(cache.clone());
//! assert_eq!(storage.info().location, "https://downloads.example.com/ -> memory:");
//! assert_eq!(cache.status().mirrors[0].requests, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//!
//! | module | content |
//! |---|---|
//! | `config` | options, builder, registration |
//! | `driver`, `shared` | the driver, and the state that its verbs share |
//! | `open`, `body` | reading from a mirror, and continuing at origin |
//! | `stat`, `list`, `save`, `copy`, `delete`, `link` | the other verbs |
//! | `invalidation` | what a write does to the memo and to each mirror |
//! | `mirror`, `purge` | one mirror: whether to use it, and its purges |
//! | `client`, `verify` | requests to one mirror |
//! | `breaker`, `bypass` | the circuit breaker; the keys that must not be read from a mirror |
//! | `origin_memo` | recent responses of origin |
//! | `link_policy`, `rendezvous`, `status` | forms of links; the order of mirrors; counts and metrics |

mod body;
mod breaker;
mod bypass;
mod client;
mod config;
mod copy;
mod delete;
mod driver;
mod invalidation;
mod link;
mod link_policy;
mod list;
mod mirror;
mod open;
mod origin_memo;
mod purge;
mod rendezvous;
mod save;
mod shared;
mod stat;
mod status;
mod verify;

pub use breaker::MirrorState;
pub use config::{HttpCacheBuilder, OnSave, register};
pub use driver::HttpCache;
pub use status::{MirrorStatus, Status};
pub use verify::Verify;
