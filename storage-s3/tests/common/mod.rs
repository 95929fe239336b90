//! The parts that several test binaries share: a server in this process, a server that the
//! environment names, and a count of requests.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod external;
pub(crate) mod known_failures;
pub(crate) mod requests;
pub(crate) mod server;
pub(crate) mod uploads;

use std::io::Write;

/// Prints that tests are skipped, past the capturing of test output.
pub(crate) fn skip(what: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
}
