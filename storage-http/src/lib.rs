//! Any HTTP file server as a storage: [`Http`].
//!
//! A file for each verb (`stat`, `open`, `save`, `delete`, `list`, `link`), above these: `client`
//! (requests and their answers), `transport` (connections), `errors` (what a status means),
//! `headers` (what an answer tells of an object), `response` (what it states about its own
//! freshness), `body` (bytes that go on where a connection breaks off), `spool` (answers that do
//! not say how long they are), `upload` (bytes on their way to the server), `webdav` (PROPFIND and
//! MKCOL).
//!
//! # Options
//!
//! <!-- options of http -->
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `base_url` | URL | required | The directory that holds the objects. |
//! | `writable` | boolean | `false` | Whether the server takes PUT and DELETE, as WebDAV servers do. |
//! | `header_timeout` | duration | `"10s"` | How long the headers of a response may take, with the connection. |
//! | `idle_timeout` | duration | `"30s"` | How long a body may stall. |
//! | `max_spool_size` | size | `"1GiB"` | How many bytes of responses without a length are kept in temporary files at a time. |
//! | `allow_http` | boolean | `false` | Whether `headers` may be sent without TLS to another machine. |
//! | `headers` | table of secrets | | Headers of every request, by name. |
//!
//! <!-- end of options -->
//!
//! Every driver also takes `prefix`, `read_only`, `public_url`, `timeout`, `retries` and
//! `default_headers` ([`CommonOptions`](storage_core::config::CommonOptions)).

mod client;
mod config;
mod delete;
mod driver;
mod errors;
mod link;
mod list;
mod open;
mod save;
mod shared;
mod stat;
mod upload;

mod version;
mod webdav;

pub use config::{HttpBuilder, register};
pub use driver::Http;
