//! Tests of jobs: workers that share a transfer, die, and continue.
#![allow(clippy::unwrap_used, reason = "helpers are test code")]

mod claiming;
mod deleting;
mod doubles;
mod dying;
mod leftovers;
mod sharing;
mod support;
mod uploads;
