//! An application with avatars, with axum. `main.rs` describes how to run it.
//!
//! `app.rs` contains the routes and the errors as responses. The crate `avatars` does the rest.

mod app;

pub use app::router;

/// Compiles the code of the page on web frameworks.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/frameworks.md")]
mod frameworks_page {}
