//! Functions for templates of askama. Feature `askama`.
//!
//! ```
//! use askama::Template;
//! use storage_publish::Assets;
//! use storage_publish::templates::askama::{asset_integrity, asset_url};
//!
//! #[derive(Template)]
//! #[template(ext = "html", source = r#"
//! <link rel="stylesheet" href="{{ self::asset_url(assets, "css/site.css")? }}"
//!     integrity="{{ self::asset_integrity(assets, "css/site.css")? }}">"#)]
//! struct Page {
//!     assets: Assets,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # std::fs::create_dir(directory.path().join("css"))?;
//! # std::fs::write(directory.path().join("css/site.css"), "")?;
//! let assets = Assets::development(directory.path());
//! assert!(Page { assets }.render()?.contains(r#"href="/css/site.css""#));
//! # Ok(()) }
//! ```

use ::askama::filters::Safe;
use ::askama::{Error, Result};

use crate::release::Assets;

/// Returns the URL of a file.
///
/// # Errors
/// `Custom` with the error of [`Assets::url`].
pub fn asset_url(assets: &Assets, path: &str) -> Result<Safe<String>> {
    super::url(assets, path).map(Safe).map_err(Error::custom)
}

/// Returns the value of the attribute `integrity` of a file. Empty in development.
///
/// # Errors
/// `Custom` with the error of [`Assets::integrity`].
pub fn asset_integrity(assets: &Assets, path: &str) -> Result<Safe<String>> {
    super::integrity(assets, path).map(Safe).map_err(Error::custom)
}

/// Returns the element that preloads a file.
///
/// # Errors
/// `Custom` with the error of [`Assets::preload`].
pub fn asset_preload(assets: &Assets, path: &str) -> Result<Safe<String>> {
    super::preload(assets, path).map(Safe).map_err(Error::custom)
}
