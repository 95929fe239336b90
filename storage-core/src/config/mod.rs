//! Configuration types, independent of a file format: they deserialise from TOML, YAML, JSON or any
//! other format that an application uses for its own configuration.
//!
//! [`StoragesConfig`] holds the tables of an application's storages. Each is a [`StorageConfig`]:
//! the name of a driver, the [`CommonOptions`] and the driver's own [`Options`]. A driver declares
//! its options with [`options!`](crate::options!).
//!
//! ```
//! use storage_core::Registry;
//! use storage_core::config::StoragesConfig;
//!
//! #[derive(serde::Deserialize)]
//! struct AppConfig {
//!     name: String,
//!     storages: StoragesConfig,
//! }
//!
//! let config: AppConfig = serde_json::from_str(
//!     r#"{ "name": "shop", "storages": { "default": { "driver": "memory", "prefix": "media" } } }"#,
//! )?;
//! let storage = Registry::with_memory().open_named(&config.storages, "default")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod byte_size;
mod common;
mod declare;
mod expand;
pub mod local_path;
mod options;
mod parse;
mod secret;
mod spec;
pub mod url;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

pub use common::CommonOptions;
pub use expand::expand_variables;
pub use options::{DeclaredOptions, NoOptions, Options, Value};
pub use parse::duration;
pub use secret::Secret;
pub(crate) use secret::is_trivial;
pub use spec::{OptionDefault, OptionSpec, markdown_table};

use crate::error::{Error, Result};

/// The table of one storage: the name of the driver, the options that every driver takes, and the
/// driver's own options.
///
/// Its `Debug` form contains no values of the driver's options.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// The name of the driver in the [`Registry`](crate::Registry).
    pub driver: String,
    /// The options that every driver takes.
    pub common: CommonOptions,
    /// The driver's own options.
    pub options: Options,
}

impl StorageConfig {
    /// Creates the configuration of a driver from a table without the key `driver`.
    ///
    /// # Errors
    /// `InvalidConfig` if one of the common options is invalid.
    pub fn new(driver: impl Into<String>, mut options: Options) -> Result<Self> {
        let common = CommonOptions::take_from(&mut options)?;
        Ok(Self { driver: driver.into(), common, options })
    }

    /// Creates the configuration from a table with the key `driver`.
    ///
    /// # Errors
    /// `InvalidConfig` if `driver` is missing or one of the common options is invalid.
    pub fn from_options(mut options: Options) -> Result<Self> {
        match options.remove("driver") {
            Some(Value::String(driver)) => Self::new(driver, options),
            Some(_) => Err(Error::config("option driver: expected a string")),
            None => Err(Error::config(
                "option driver is missing: name the driver, as in driver = \"fs\"",
            )),
        }
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Table(options) => Self::from_options(options),
            other => Err(Error::config(format!("expected a table, found {}", other.kind()))),
        }
    }
}

impl<'de> Deserialize<'de> for StorageConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let options = Options::deserialize(deserializer)?;
        Self::from_options(options).map_err(|error| de::Error::custom(error.message()))
    }
}

/// The named storages of an application: the `[storages.*]` tables.
#[derive(Clone, Default, PartialEq)]
pub struct StoragesConfig(BTreeMap<String, StorageConfig>);

impl StoragesConfig {
    /// Creates a configuration without storages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a storage, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, config: StorageConfig) {
        self.0.insert(name.into(), config);
    }

    /// Returns the storage of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&StorageConfig> {
        self.0.get(name)
    }

    /// Returns the names of all storages, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns whether there are no storages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for StoragesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

impl<'de> Deserialize<'de> for StoragesConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Self::new();
        for (name, value) in Options::deserialize(deserializer)?.values {
            let config = StorageConfig::from_value(value).map_err(|error| {
                de::Error::custom(format!("[storages.{name}]: {}", error.message()))
            })?;
            all.insert(name, config);
        }
        Ok(all)
    }
}
