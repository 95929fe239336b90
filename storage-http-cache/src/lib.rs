//! The driver `http-cache`: reads objects from a mirror, and from their origin if the mirror fails.
//!
//! [`HttpCache`] is the driver, and [`HttpCacheBuilder`] sets its options. The mirror is a caching
//! HTTP server, such as the one of `storage-mirror` or nginx. The origin is any storage. The driver
//! `cache` of `storage-mirror` is the alternative without a server: it caches on the disk of the
//! application.
//!
//! # Guarantees
//!
//! - **The mirror is optional.** If it does not respond in time, responds with an error, or breaks
//!   off a body, the object is read from origin. A circuit breaker stops requests to a mirror that
//!   fails repeatedly.
//! - **One version.** A body that breaks off continues at origin, at the next byte of the same
//!   version. If origin now has another version, the body ends with a retryable `Integrity` error.
//!   It never contains bytes of two versions.
//! - **A driver reads its own writes.** From before a write until a mirror has confirmed a purge,
//!   the key bypasses this mirror, even if the outcome of the write is unknown or its future was
//!   dropped. Clones of a driver share this state.
//! - **`stat`, `exists` and `list` read from origin.** Only `open` may return an older version, for
//!   as long as the mirror considers it fresh.
//! - **No credential** appears in an error, a `Debug` form or a log line. Tokens and signed URLs
//!   are hidden.
//!
//! # Options
//!
//! <!-- options of http-cache -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `mirror` | URL or list of URLs | required | The base URL of the mirror, or a list of URLs. With several, each key has a preferred one. |
//! | `origin` | name or table | required | The storage that contains the objects: the name of another storage, or a table. |
//! | `verify` | `cache-tier`, `head` or `none` | `"cache-tier"` | How the driver checks that a mirror has an object before it returns a link to it: with the mirror's own protocol (`cache-tier`), with HEAD, or not at all. |
//! | `memo` | duration | `"120s"` | How long the results of these checks and recent responses of origin are used. |
//! | `header_timeout` | duration | `"1s"` | Time limit for the headers of a mirror's response, including the time for connecting. |
//! | `idle_timeout` | duration | `"10s"` | Time limit for each chunk of a mirror's body. After it, the rest is read from origin. |
//! | `token` | secret | | The `admin_token` of the mirror, for purges, and without `admin` for stored metadata. |
//! | `allow_http` | boolean | `false` | Whether `token` may be sent without TLS to another machine. |
//! | `on_save` | `purge`, `prefetch` or `none` | `purge` with a token, else `none` | What the driver requests from the mirror after a save: to remove the object, to remove it and fetch the new one, or nothing. |
//! | `min_size` | size | `0` | The size below which objects are read from origin, once it is known. |
//! | `signing_key` | secret | | The `signing_key` of the mirror, if it is private. |
//! | `public` | boolean | `false` | Whether a plain link to the mirror is permitted where origin would sign the link. |
//! | `breaker_failures` | integer | `5` | How many consecutive failures open the circuit breaker of a mirror, so that it is not used. |
//! | `breaker_open` | duration | `"30s"` | How long the circuit breaker stays open, times how often it has opened since the last success, up to 10 minutes. |
//! | `key_penalty` | duration | `"20s"` | How long a key is not requested from a mirror after a request for it failed. |
//! | `admin` | URL | the mirror's own | The base URL of the admin routes, if they have their own listener. |
//!
//! <!-- end of options -->
//!
//! Every driver also takes `prefix`, `read_only`, `public_url`, `timeout`, `retries` and
//! `default_headers` ([`CommonOptions`](storage_core::config::CommonOptions)).
//!
//! # Limits
//!
//! - Other processes may read an old version from the mirror until it is purged or expires.
//! - A process that ends does not repeat its unconfirmed purges.
//! - Without a `token` nothing is purged: a written key bypasses the mirror for one hour, through
//!   the driver that wrote it.
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
//! | `stat`, `list`, `save`, `copy`, `rename`, `delete`, `link`, `multipart` | the other verbs |
//! | `invalidation` | recording a write, and purging its key |
//! | `mirror`, `purge` | one mirror, whether it may be used, and its purges |
//! | `client`, `verify` | requests to one mirror |
//! | `breaker`, `bypass` | the circuit breaker; the keys that must not be read from a mirror |
//! | `origin_memo` | recent responses of origin |
//! | `link_policy`, `rendezvous`, `status` | forms of links; the order of mirrors; counts and metrics |

#![cfg_attr(docsrs, feature(doc_cfg))]

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
mod multipart;
mod open;
mod origin_memo;
mod purge;
mod rename;
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
