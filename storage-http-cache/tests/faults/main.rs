//! Faults of mirrors and of origin, on real sockets. Each test proves that its fault occurred.
//!
//! | module | content |
//! |---|---|
//! | `scene` | the driver with a scripted mirror |
//! | `replies` | no response, invalid ones, misses; when the mirror is used again |
//! | `bodies` | bodies that break off, stall or are wrong |
//! | `writes` | purges, and the bypass until they are confirmed |
//! | `links` | links that lead to the mirror |
//! | `requests` | the requests to the mirror |
#![allow(clippy::unwrap_used, reason = "an unexpected error fails the test")]

mod bodies;
mod links;
mod replies;
mod requests;
mod scene;
mod writes;
