//! Publishing the static files of a website to any storage. Feature `publish`.
//!
//! Contains all of the crate `storage-publish`.

#[doc(inline)]
pub use storage_publish::*;
