//! The built command, run as a user runs it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod configuration;
mod copying;
mod errors;
mod interrupting;
mod listing;
mod locations;
mod moving;
mod pipes;
mod reading;
mod support;
mod terminal;
mod writing;
