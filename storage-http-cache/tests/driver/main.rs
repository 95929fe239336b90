//! The driver `http-cache` on a small mirror server of the tests' own: the conformance suite, with
//! mirrors that are healthy, dead, flapping or lying, and the options.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod config;
mod conformance;
mod metrics;
mod mirror;
mod nginx;
mod server;
