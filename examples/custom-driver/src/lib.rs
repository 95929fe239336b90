//! A storage driver for [redb](https://www.redb.org), an embedded database: all objects in one
//! file.
//!
//! This is the driver that `docs/writing-a-driver.md` builds step by step. It uses only the public
//! API of `storage-core`, so a third-party crate can look the same.
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
//! # Options
//!
//! | option | type | default | purpose |
//! |-|-|-|-|
//! | `path` | path | required | The database file. The driver creates it, but not its directory. |
//! | `cache_mib` | integer | `16` | How many MiB of the file are kept in memory at most. |
//!
//! # Limits
//!
//! - One storage of one process can have a database file open.
//! - A save blocks other saves only while it writes a piece of 1 MB. A copy within the storage
//!   blocks them until it is complete.
//! - Objects that are overwritten or deleted stay in the file until the readers and listings that
//!   began before have ended.
//! - After an input or output error of the file, redb refuses all work until the database is opened
//!   again.

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
    /// Returns the options of a file, with defaults for the others.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), cache_mib: default_cache_mib() }
    }
}

fn default_cache_mib() -> usize {
    16
}

/// Registers the driver `redb` and its URLs, `redb:///var/lib/app/files.redb`.
pub fn register(registry: &mut Registry) {
    registry.register("redb", |options: RedbOptions, _context| Ok(Arc::new(Redb::open(&options)?)));
    registry.register_scheme("redb", "redb", "redb:///abs/path", |url| {
        let path =
            url.to_file_path().ok().and_then(|path| path.into_os_string().into_string().ok());
        let path = path.ok_or_else(|| {
            Error::config("a redb URL has the path of a file: redb:///var/lib/app/files.redb")
        })?;
        Ok(Options::new().with("path", path))
    });
}

// Compiles and runs the code of the README with the examples above. This crate is never published,
// so the file exists.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
