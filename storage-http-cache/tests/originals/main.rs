//! The Python `cache-tier`, whose protocol this driver implements: its client with the mirror of
//! this project, and this driver with its server.
//!
//! `STORAGE_HTTP_TEST_PYTHON` names a Python that has `cache_tier` (PyPI) and `flask`. The server
//! is not on a package index: `STORAGE_HTTP_TEST_CACHE_TIER` names a copy of its directory,
//! `src/server/cache-tier-svr` of its repository. Tests without their tool are skipped and print a
//! line.

#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]
#![allow(clippy::print_stdout, reason = "a skipped test prints a line")]
#![allow(dead_code, reason = "the mirror's tests use more of what they share")]

mod client;
#[path = "../../../storage-mirror/tests/mirror/common.rs"]
mod common;
mod server;

/// Returns a tool that the environment names. Without it the test is skipped and prints a line.
fn named(variable: &str, what: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        println!("SKIPPED: {what}, since {variable} names none");
    }
    found
}
