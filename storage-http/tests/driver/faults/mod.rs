//! Responses that break off, stall, redirect or are wrong. Each test proves that its fault
//! occurred.

mod bodies;
mod heads;
mod lengths;
mod listings;
mod peer;
mod saves;
