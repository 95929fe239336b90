//! Tests of the mirror server over real sockets, in front of storages and HTTP servers with planned
//! faults.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;
mod cors;
mod filling;
mod freshness;
mod lifecycle;
mod origin;
mod records;
mod routes;
mod website;
