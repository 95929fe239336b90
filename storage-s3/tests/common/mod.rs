//! What the driver's tests share: a server in this process, a server that the environment names,
//! and a count of the requests that come to the former.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod external;
pub(crate) mod known_failures;
pub(crate) mod requests;
pub(crate) mod server;

use std::io::Write;

/// Tells of what was not tried: past the capturing of test output, since a skipped test that nobody
/// sees is a hole in the proof.
pub(crate) fn skip(what: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
}
