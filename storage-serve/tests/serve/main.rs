//! What the server of a storage promises, in the process, on the wire and by curl.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod calls;
mod common;
mod conditions;
mod curl;
mod encodings;
mod faults;
mod links;
mod memory;
mod property;
mod ranges;
mod reading;
mod redirects;
mod servers;
mod uploads;
mod versions;
mod wire;
