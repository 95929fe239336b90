//! An application with avatars, with actix-web. `main.rs` describes how to run it.
//!
//! `app.rs` contains the routes and the errors as responses. The crate `avatars` does the rest.

mod app;

pub use app::{App, configure};
