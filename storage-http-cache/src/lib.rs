//! The cache tier: a cheap server in front of a dear origin, which may die at any moment without a
//! reader noticing.
//!
//! - [`HttpCache`] (feature `driver`) reads from the mirror and falls back to origin, also in the
//!   middle of a body.
//! - [`server`] (feature `server`) is the mirror, which fills itself from origin on the first
//!   request.

#[cfg(feature = "driver")]
mod driver;
#[cfg(any(feature = "driver", feature = "server"))]
mod recent;
#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "driver")]
pub use driver::{
    HttpCache, HttpCacheBuilder, MirrorState, MirrorStatus, OnSave, Status, Verify, register,
};
