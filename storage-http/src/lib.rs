//! Any HTTP file server as a storage: [`Http`].
//!
//! A file for each verb (`stat`, `open`, `save`, `delete`, `list`, `link`), above these: `client`
//! (requests and their answers), `transport` (connections), `errors` (what a status means),
//! `headers` (what an answer tells of an object), `response` (what it states about its own
//! freshness), `body` (bytes that go on where a connection breaks off), `spool` (answers that do
//! not say how long they are), `upload` (bytes on their way to the server), `webdav` (PROPFIND and
//! MKCOL).

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
