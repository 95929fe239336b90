//! Tests of the driver `cache`: the conformance suite, its guarantees, and faults of its directory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod config;
mod conformance;
mod faults;
mod gated;
mod processes;
mod reading;
mod slow;
mod writing;
