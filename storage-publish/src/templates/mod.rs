//! Names of published files in templates: a module for each template engine.
//!
//! Each engine has three functions. They return HTML that is escaped already.
//!
//! | function | result |
//! |-|-|
//! | `asset_url` | the URL of a file, for `href` and `src` |
//! | `asset_integrity` | the value of `integrity`; empty in development, which browsers ignore |
//! | `asset_preload` | an element `<link rel="preload">` |
//!
//! The argument is the path of the file in the directory that was published. A file that the site
//! does not have is an error of the rendering, and its message names the file.

#[cfg(feature = "askama")]
pub mod askama;
#[cfg(feature = "minijinja")]
pub mod minijinja;
#[cfg(feature = "tera")]
pub mod tera;

use storage_core::Result;
use storage_core::internal::escape_html;

use crate::release::Assets;

fn url(assets: &Assets, path: &str) -> Result<String> {
    Ok(escape_html(&assets.url(path)?))
}

fn integrity(assets: &Assets, path: &str) -> Result<String> {
    Ok(assets.integrity(path)?.map(|value| value.to_string()).unwrap_or_default())
}

fn preload(assets: &Assets, path: &str) -> Result<String> {
    Ok(assets.preload(path)?.to_string())
}

/// Returns a part of a page, from the path of a file.
#[cfg(any(feature = "minijinja", feature = "tera"))]
type Function = fn(&Assets, &str) -> Result<String>;

/// The functions by their names in templates, for engines that find functions at run time.
#[cfg(any(feature = "minijinja", feature = "tera"))]
const FUNCTIONS: [(&str, Function); 3] =
    [("asset_url", url), ("asset_integrity", integrity), ("asset_preload", preload)];
