//! Services that do otherwise than AWS: what the driver refuses, verifies or accepts of them, and
//! what a probe finds.
//!
//! | module | what it is about |
//! |---|---|
//! | `fake` | a service in memory that lacks what a test says |
//! | `probe` | what `S3::probe` finds, and the profile that it names |
//! | `unknown` | an endpoint whose service is unknown |
//! | `options` | encryption and storage classes that a service ignores |
//! | `documents` | responses whose documents have other names |
//! | `errors` | errors with what to do about them |
//! | `bodies` | sizes that a service does not report, or reports wrong |
//! | `in_place` | what a copy of an object onto itself keeps |
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../faults/fault_proxy/mod.rs"]
mod fault_proxy;

mod bodies;
mod documents;
mod errors;
mod fake;
mod in_place;
mod options;
mod probe;
mod unknown;
