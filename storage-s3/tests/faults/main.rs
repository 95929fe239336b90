//! Faults between the driver and a server, staged by a proxy of our own: every verb succeeds, or
//! fails with an error of the right kind; nothing that was acknowledged is missing, nothing
//! half-written is visible, and no upload is left behind.
//!
//! | module | what it is about |
//! |---|---|
//! | `fault_proxy` | the proxy |
//! | `faults`, `fixture`, `scenes` | what can go wrong, and where it does |
//! | `verbs` | every verb that is one request, with every fault of it |
//! | `uploads`, `copies` | multipart uploads, of saves and of copies |
//! | `conditions` | saves and copies that must not be repeated |
//! | `bodies`, `listings`, `deletions` | responses that come in pieces, or for many |
//! | `stalls` | servers that say nothing |
//! | `real` | uploads on the server that the environment names, which knows itself what is left |
//! | `told` | what errors say, and what is not believed |
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
mod real;
mod scenarios;
mod stalls;
mod uploads;
mod verbs;
