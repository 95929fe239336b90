//! The guarantees of `Serve`, in the process, on the wire and with curl.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod calls;
mod common;
mod conditions;
mod cors;
mod curl;
mod encodings;
mod faults;
mod form;
mod links;
mod memory;
mod property;
mod ranges;
mod reading;
mod redirects;
mod respond;
mod servers;
mod storage_links;
mod uploads;
mod versions;
mod website;
mod wire;
