//! Tests of the driver `cache`: the conformance suite, its guarantees, and faults of its directory.

mod common;
mod config;
mod conformance;
mod faults;
mod gated;
mod processes;
mod reading;
mod writing;
