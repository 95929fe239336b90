//! Faults between the driver and a server, staged by a proxy of our own.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod fault_proxy;
mod faults;
mod stage;
mod uploads;
mod verbs;
