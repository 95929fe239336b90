//! One storage API for Rust applications; the backend is a line of configuration.
