//! Publishes the static files of a website to any storage.
//!
//! # From a directory to a site
//!
//! [`Site::build`] reads a directory and returns its files as they are published. The directory is
//! not changed.
//!
//! ```
//! use storage_publish::{Naming, Site, SiteOptions};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! let directory = tempfile::tempdir()?;
//! std::fs::write(directory.path().join("index.html"), "<img src='logo.svg'>")?;
//! std::fs::write(directory.path().join("logo.svg"), "<svg/>")?;
//!
//! let site = Site::build(directory.path(), SiteOptions::default()).await?;
//! assert_eq!(site.assets[0].path, "logo.svg");
//! assert_eq!(site.assets[0].name, "logo.d4dc56669143034f.svg");
//! assert_eq!(site.assets[1].naming, Naming::Fixed);
//! # Ok(()) }
//! ```
//!
//! ## Names
//!
//! A file gets a name with a hash of its final bytes, so that browsers may keep it for ever. Pages
//! and files that browsers look for keep their names, as do files that a bundler has named:
//! [`Naming`] lists the rules. [`SiteOptions`] adds patterns and removes them.
//!
//! ## References
//!
//! Tokenizers find the references in these files, and the hash is inserted into each. All other
//! bytes stay as they are.
//!
//! - Style sheets: `url()`, `src()`, `@import`, `image-set()`, `sourceMappingURL`.
//! - JavaScript: `import`, `export ... from`, `import()`, `new URL("x", import.meta.url)`,
//!   `importScripts("x")`, `new Worker("/x")`, `sourceMappingURL`.
//! - HTML: `src`, `href`, `srcset`, `imagesrcset`, `poster`, `data`, `background`, `<base href>`,
//!   style sheets, scripts and import maps in the page, images of `<meta>`, and `integrity`.
//! - SVG: `href`, `xlink:href`, style sheets, scripts, `url()` in attributes, `<?xml-stylesheet?>`.
//! - Web manifests: `icons`, `screenshots`, `start_url`, and those of shortcuts, widgets, tabs and
//!   translations.
//!
//! For all of them:
//!
//! - URLs with a scheme or a host, `data:`, `#fragment` and bare specifiers of modules stay as they
//!   are. `?query` and `#fragment` after a path are kept.
//! - A reference of an asset that names no file is an error with file, line and column, unless
//!   [`ignore_references`](SiteOptions::ignore_references) matches it. A link to a page that no
//!   file has is not, because it may be a route. A missing source map is a
//!   [warning](Site::warnings).
//! - `integrity` must fit the file as it is in the directory, and is computed again if the file is
//!   rewritten. So are the hashes in the `<meta http-equiv="Content-Security-Policy">` of a page.
//! - Columns of source maps move with the names that are inserted before them. An index of maps
//!   (`sections`) and a map within its file (`data:`) stay as they are.
//! - The `srcdoc` of a frame, event handlers such as `onclick`, and templates in scripts are not
//!   read.
//!
//! ## Names that a program uses
//!
//! A script may name a file in a string (`img.src = "/logo.svg"`), or complete a name at run time
//! (``import(`./lang/${language}.js`)``). The file keeps its name if the text is its path, the end
//! of its path after a `/`, or its beginning in an `import()` or in a `new URL("dir/",
//! import.meta.url)` for a directory that does not contain the script. The same holds for `data-`
//! attributes, feeds, data in JSON, `new Worker("x.js")`, and for absolute URLs whose path is that
//! of a file. A name that a program composes of other parts is not found: list its file in
//! [`keep_names`](SiteOptions::keep_names).
//!
//! # From a site to a release
//!
//! [`publish()`] stores a site below a destination and makes it the current release. [`rollback`]
//! returns to an earlier one. `docs/publish.md` has the format of what a destination contains, and
//! the promises.
//!
//! # In an application
//!
//! - [`Assets`] returns URLs of published files for the pages that an application renders. The
//!   module `templates` has functions for askama, minijinja and Tera.
//! - `ServedRelease` serves the current release (feature `serve`).

#![cfg_attr(docsrs, feature(doc_cfg))]

mod release;
mod site;
#[cfg(any(feature = "askama", feature = "minijinja", feature = "tera"))]
pub mod templates;

#[cfg(feature = "serve")]
pub use release::ServedRelease;
#[doc(hidden)]
pub use release::testing;
pub use release::{
    Assets, CurrentRelease, EncodedBody, Encoding, Manifest, ManifestEntry, PLAIN_SHA256,
    POINTER_KEY, PreviousRelease, PublishConfig, PublishOptions, PublishPlan, Published, Purge,
    RESERVED_PREFIX, ReleaseClaim, Releases, RolledBack, RuleConfig, Sha256, Sibling, manifest_key,
    plan, publish, releases, rollback,
};
pub use site::{Asset, Content, Naming, Problem, Problems, Site, SiteOptions, SpooledFile};

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
