//! Storages and HTTP: serve any [`Storage`](storage_core::Storage) to browsers, and use any file
//! server as one.
//!
//! - [`Serve`] (feature `serve`) is a service for whichever HTTP server an application has: ranges,
//!   conditions, safe headers, signed links for downloads and uploads.
//! - [`Http`] (feature `driver`) is a driver whose objects are files of an HTTP server.

#[cfg(feature = "driver")]
mod driver;
#[cfg(feature = "serve")]
pub mod serve;
mod user_metadata;

#[cfg(feature = "driver")]
#[doc(hidden)]
pub use driver::wire;
#[cfg(feature = "driver")]
pub use driver::{Http, HttpBuilder, register};
#[cfg(feature = "serve")]
pub use serve::Serve;
