//! The driver `http` on real servers, and on one that fails on purpose.
//!
//! | module | content |
//! |---|---|
//! | `servers` | nginx, Apache and Python's `http.server`, each a child process of the test that uses it |
//! | `conformance` | the suite on nginx and Apache |
//! | `files` | servers without ranges, without WebDAV, with existing directories |
//! | `faults` | responses that break off, stall, redirect or are wrong |
//! | `options` | configuration, hidden secrets |
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

mod conformance;
mod faults;
mod files;
mod options;
mod servers;
