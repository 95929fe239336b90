//! Helpers of several cases: bytes to save, payloads that stall or fail, races.

pub(crate) mod content;
pub(crate) mod large;
pub(crate) mod payloads;
pub(crate) mod polls;
pub(crate) mod race;
