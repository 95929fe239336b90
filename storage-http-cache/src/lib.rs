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
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `mirror` | URL or list of URLs | required | The base URL of the mirror, or a list of several. Each key has a preferred mirror. |
//! | `origin` | name or table | required | The storage that holds the objects: the name of another storage, or a table. |
//! | `verify` | `cache-tier`, `head` or `none` | `"cache-tier"` | How the driver checks that a mirror has an object before it returns a link to it: with the mirror's own protocol (`cache-tier`), with HEAD, or not at all. |
//! | `memo` | duration | `"120s"` | How long the result of that check is used. |
//! | `header_timeout` | duration | `"1s"` | How long a mirror may take to begin a response. |
//! | `idle_timeout` | duration | `"10s"` | How long a body may stall before the rest is read from origin. |
//! | `token` | secret | | The `admin_token` of the mirror, for purges, and without `admin` for stored metadata. |
//! | `allow_http` | boolean | `false` | Whether `token` may be sent without TLS to another machine. |
//! | `on_save` | `purge`, `prefetch` or `none` | `purge` with a token, else `none` | What the driver sends to the mirror after a save. |
//! | `min_size` | size | `0` | Smaller objects are read from origin, once their size is known. |
//! | `signing_key` | secret | | The `signing_key` of the mirror, if it is private. |
//! | `public` | boolean | `false` | Whether a plain link to the mirror is permitted where origin would sign the link. |
//! | `breaker_failures` | integer | `5` | After how many consecutive failures a mirror is not used. |
//! | `breaker_open` | duration | `"30s"` | For how long, multiplied by the number of times that this happened, up to 10 minutes. |
//! | `key_penalty` | duration | `"20s"` | How long a key is not requested from a mirror that failed for it. |
//! | `admin` | URL | the mirror's own | The base URL of the admin routes, if they have their own listener. |
//!
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
