//! The faults that a reader behind a cache tier must not notice, or must be told of, each on real
//! sockets and each proved to have come to pass.
//!
//! | module | what it is about |
//! |---|---|
//! | `scene` | the driver on a mirror that follows the script of a test |
//! | `answers` | no answer, bad answers, answers that leave it to origin; when the mirror is asked again |
//! | `bodies` | bodies that break off, stall or are wrong |
//! | `writes` | purges, and what bypasses the mirror until they are confirmed |
//! | `links` | which links lead to the mirror |
//! | `requests` | what the mirror is asked |
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod answers;
mod bodies;
mod links;
mod requests;
mod scene;
mod writes;
