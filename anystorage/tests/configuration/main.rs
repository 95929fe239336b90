//! Tests of configurations and of the errors for mistakes in them.

#![cfg(feature = "toml")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod embedded;
mod environment;
mod references;
#[cfg(feature = "s3")]
mod s3;
mod secrets;
mod support;
mod tables;
mod urls;
