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
//! | `verify` | `cache-tier`, `head` or `none` | `"cache-tier"` | How the driver asks a mirror whether it has an object before it returns a link to it. |
//! | `memo` | duration | `"120s"` | How long the driver remembers the response to that question. |
//! | `header_timeout` | duration | `"1s"` | How long a mirror may take to begin a response. |
//! | `idle_timeout` | duration | `"10s"` | How long a body may stall before the driver continues at origin. |
//! | `token` | secret | | The `admin_token` of the mirror: for purges, and without `admin` for metadata as it is stored. |
//! | `allow_http` | boolean | `false` | Whether `token` may be sent without TLS to another machine. |
//! | `on_save` | `purge`, `prefetch` or `none` | `purge` with a token, else `none` | What the driver requests of the mirror after a save. |
//! | `min_size` | size | `0` | Smaller objects bypass the mirror, once their size is known. |
//! | `signing_key` | secret | | The `signing_key` of the mirror, if it is private. |
//! | `public` | boolean | `false` | Whether a plain link to the mirror may replace a link that origin would sign. |
//! | `breaker_failures` | integer | `5` | After how many consecutive failures the driver stops using a mirror for a while. |
//! | `breaker_open` | duration | `"30s"` | For how long. Each repetition adds as much again, up to 10 minutes. |
//! | `key_penalty` | duration | `"20s"` | How long a key whose request failed bypasses that mirror. |
//! | `admin` | URL | the mirror's own | The address of the mirror's admin routes. |
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
