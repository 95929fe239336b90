//! A storage driver for [redb](https://www.redb.org), an embedded database: all objects in one
//! file.
//!
//! This is the driver that `docs/writing-a-driver.md` builds, step by step. It uses nothing but the
//! public API of `storage-core`, so a crate of your own can look the same.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use storage_core::Registry;
//!
//! let mut registry = Registry::with_memory();
//! storage_redb::register(&mut registry);
//!
//! # let dir = tempfile::tempdir()?;
//! # let file = dir.path().join("files.redb");
//! let storage = registry.open_url(&format!("redb://{}?prefix=media", file.display()))?;
//! storage.save("notes/a.txt", "hello").await?;
//! assert_eq!(storage.open("notes/a.txt").await?.text().await?, "hello");
//! # Ok(()) }
//! ```
//!
//! # Behaviour to know of
//!
//! - One process at a time, and one storage in it, can have a database file open.
//! - A save holds up other saves only while it writes a piece of a megabyte. A copy within the
//!   storage holds them up until all of it is copied.
//! - What a reader or a listing began with stays in the file until it ends, also if it is
//!   overwritten or deleted.
//! - When the operating system has once failed to read or write the file, redb refuses everything
//!   until the database is opened again.

mod database;
mod driver;
mod listing;
mod reading;
mod tables;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;

use storage_core::config::Options;
use storage_core::{Error, Registry};

pub use driver::Redb;

storage_core::options! {
    /// The options of the driver.
    #[derive(Debug, Clone)]
    #[non_exhaustive]
    pub struct RedbOptions {
        /// The database file. The driver creates it, but not its directory.
        pub path: PathBuf => "path", required;
        /// How many MiB of the file are kept in memory at most.
        #[serde(default = "default_cache_mib")]
        pub cache_mib: usize => "integer", default 16;
    }
}

impl RedbOptions {
    /// This file, and the defaults for the rest.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), cache_mib: default_cache_mib() }
    }
}

fn default_cache_mib() -> usize {
    16
}

/// Makes the driver known as `redb`, and its URLs as `redb:///var/lib/app/files.redb`.
pub fn register(registry: &mut Registry) {
    registry.register("redb", |options: RedbOptions, _context| Ok(Arc::new(Redb::open(&options)?)));
    registry.register_scheme("redb", "redb", "redb:///abs/path", |url| {
        let path =
            url.to_file_path().ok().and_then(|path| path.into_os_string().into_string().ok());
        let path = path.ok_or_else(|| {
            Error::config("a redb URL names a file, as in redb:///var/lib/app/files.redb")
        })?;
        Ok(Options::new().with("path", path))
    });
}

// The README's code is compiled and run with the examples above: here, since this crate is never
// published, so that the file is always there.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
