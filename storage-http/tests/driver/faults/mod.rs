//! Answers that break off, stall, lie or lead elsewhere. Each test proves that its fault came to
//! pass.

mod bodies;
mod heads;
mod lengths;
mod listings;
mod peer;
mod saves;
