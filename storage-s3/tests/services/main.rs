//! Services that differ from AWS: the features that the driver refuses, verifies or accepts, and
//! the findings of a probe.
//!
//! | module | content |
//! |---|---|
//! | `fake` | a service in memory, which lacks the features that a test names |
//! | `probe` | the findings of `S3::probe`, and the profile that it suggests |
//! | `unknown` | an endpoint with an unknown service |
//! | `options` | services that ignore encryption and storage classes |
//! | `documents` | documents with another root element |
//! | `errors` | errors with the advice for them |
//! | `bodies` | responses without a length, or with a wrong one |
//! | `in_place` | copies of an object onto itself |
//! | `between` | copies between two buckets |
//! | `tags`, `versions` | tags and versions of objects |
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../faults/fault_proxy/mod.rs"]
mod fault_proxy;

mod between;
mod bodies;
mod documents;
mod errors;
mod fake;
mod in_place;
mod options;
mod probe;
mod tags;
mod unknown;
mod versions;
