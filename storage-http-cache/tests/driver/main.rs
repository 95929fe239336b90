//! The driver `http-cache` with a small mirror server of these tests: the conformance suite with
//! mirrors that are healthy, dead, flapping or wrong, and the options.
#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

mod config;
mod conformance;
mod metrics;
mod mirror;
mod nginx;
mod server;
