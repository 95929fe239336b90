//! The driver `cache`: the conformance suite, its own promises, and trouble with its directory.

mod common;
mod config;
mod conformance;
mod gated;
mod processes;
mod reading;
mod trouble;
mod writing;
