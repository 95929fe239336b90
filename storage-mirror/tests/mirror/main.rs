//! The mirror server, over real sockets: in front of storages that fail on purpose, and of servers
//! that do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod filling;
mod freshness;
mod lifecycle;
mod origin;
mod records;
mod routes;
