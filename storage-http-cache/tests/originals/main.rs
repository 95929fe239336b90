//! The Python `cache-tier`, which this tier comes from: its client with our mirror, and our driver
//! with its server.
//!
//! `STORAGE_HTTP_TEST_PYTHON` names a Python that has `cache_tier` (PyPI) and `flask`. The server
//! is on no package index: `STORAGE_HTTP_TEST_CACHE_TIER` names a copy of its directory,
//! `src/server/cache-tier-svr` of its repository. What is not there is skipped, and says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "what is skipped says so")]
#![allow(dead_code, reason = "the mirror's tests use more of what they share")]

mod client;
#[path = "../../../storage-mirror/tests/mirror/common.rs"]
mod common;
mod server;

/// A tool that the environment names; without it the test is skipped, loudly.
fn named(variable: &str, what: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        println!("SKIPPED: {what}, since {variable} names none");
    }
    found
}
