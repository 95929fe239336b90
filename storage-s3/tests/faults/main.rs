//! Faults between the driver and a server, injected by a proxy: every verb succeeds or fails with
//! an error of the right kind, no acknowledged object is missing, no partial object is visible, and
//! no upload is left behind.
//!
//! | module | content |
//! |---|---|
//! | `fault_proxy` | the proxy |
//! | `faults`, `fixture`, `scenarios` | the faults, and the fixtures of the tests |
//! | `verbs` | every verb of one request, with every fault |
//! | `uploads`, `copies` | multipart uploads of saves and of copies |
//! | `multipart`, `upload_listings` | multipart uploads that outlive a process |
//! | `conditions` | saves and copies that must not be repeated |
//! | `bodies`, `listings`, `deletions` | responses in several pieces or for several keys |
//! | `stalls` | servers that stop responding |
//! | `real` | uploads on the server that the environment names, which lists what is left |
//! | `error_reports` | the content of errors |
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod conditions;
mod copies;
mod deletions;
mod error_reports;
mod fault_proxy;
mod faults;
mod fixture;
mod listings;
mod multipart;
mod real;
mod renames;
mod scenarios;
mod stalls;
mod upload_listings;
mod uploads;
mod verbs;
