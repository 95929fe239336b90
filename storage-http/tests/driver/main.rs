//! The driver `http` on servers that others wrote, and on one that fails on purpose.
//!
//! | module | what it is about |
//! |---|---|
//! | `servers` | nginx, Apache and Python's `http.server`, each a child of the test that uses it |
//! | `conformance` | the suite on nginx with WebDAV, written to and only read from |
//! | `files` | what the suite does not ask: servers without ranges, without WebDAV, with directories of their own |
//! | `faults` | answers that break off, stall, lie or lead elsewhere |
//! | `options` | configuration, and that no secret shows |
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod conformance;
mod faults;
mod files;
mod options;
mod servers;
