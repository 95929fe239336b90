//! The built command, run as a user runs it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod checking;
mod configuration;
mod copying;
mod drivers;
mod errors;
mod fake;
mod interrupting;
mod links;
mod listing;
mod locations;
mod metadata;
mod mirror;
mod moving;
mod pipes;
mod reading;
mod s3;
mod support;
mod terminal;
mod writing;

// The server of storage-s3's own tests, of which there is one. What it needs beside it is expected
// to be its neighbour.
#[allow(dead_code, reason = "it can do more than these tests need")]
#[path = "../../../storage-s3/tests/common/requests.rs"]
mod requests;
#[allow(dead_code, reason = "it can do more than these tests need")]
#[path = "../../../storage-s3/tests/common/server.rs"]
mod server;
