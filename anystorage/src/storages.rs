//! [`Storages`]: the named storages of an application.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use storage_core::config::StoragesConfig;
use storage_core::{Error, Result, Storage};

use crate::loader::Loader;

/// The named storages of an application. All are built at once, so that a mistake in the
/// configuration is an error at start-up.
///
/// Cheap to clone. Storages that refer to the same storage share it. For drivers of your own, begin
/// with [`Loader::with_registry`].
///
/// ```
/// use anystorage::Storages;
///
/// let storages = Storages::from_toml_str(
///     r#"
///     [storages.default]
///     driver = "memory"
///     prefix = "media"
///     "#,
/// )?;
/// let storage = storages.default_storage()?;
/// assert_eq!(storage.info().name, "memory");
/// assert!(storages.get("defualt").unwrap_err().message().contains("known are default"));
/// # Ok::<(), anystorage::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Storages {
    storages: Arc<BTreeMap<String, Storage>>,
}

impl Storages {
    /// Builds the `[storages.*]` tables of a TOML document: see [`Loader::toml_str`].
    ///
    /// # Errors
    /// `InvalidConfig`, whose message says where the mistake is; and the errors of the drivers.
    pub fn from_toml_str(text: &str) -> Result<Self> {
        Loader::new().toml_str(text)?.open_all()
    }

    /// Builds the `[storages.*]` tables of a TOML file: see [`Loader::toml_file`].
    ///
    /// # Errors
    /// As [`from_toml_str`](Self::from_toml_str); `InvalidConfig` if the file cannot be read.
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self> {
        Loader::new().toml_file(path)?.open_all()
    }

    /// Builds the storages of the environment, of `STORAGE_CONFIG` and `STORAGE_<NAME>_URL`: see
    /// [`Loader::env`].
    ///
    /// # Errors
    /// As [`from_toml_file`](Self::from_toml_file).
    pub fn from_env() -> Result<Self> {
        Loader::new().env()?.open_all()
    }

    /// Builds the storages of an application's own configuration, whatever its format.
    ///
    /// `${VAR}` has no meaning here, because the program that read the configuration replaces
    /// variables. A secret that still contains `${` is refused.
    ///
    /// # Errors
    /// As [`from_toml_str`](Self::from_toml_str).
    pub fn from_config(config: &StoragesConfig) -> Result<Self> {
        Loader::new().config(config).open_all()
    }

    pub(crate) fn new(storages: BTreeMap<String, Storage>) -> Self {
        Self { storages: Arc::new(storages) }
    }

    /// Returns the storage of a name.
    ///
    /// # Errors
    /// `InvalidConfig`, whose message lists the known names.
    pub fn get(&self, name: &str) -> Result<Storage> {
        self.storages.get(name).cloned().ok_or_else(|| unknown(name, self.names()))
    }

    /// Returns the storage called `default`.
    ///
    /// # Errors
    /// `InvalidConfig`, whose message lists the known names.
    pub fn default_storage(&self) -> Result<Storage> {
        self.get("default")
    }

    /// Returns the names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.storages.keys().map(String::as_str)
    }
}

pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<_> = known.collect();
    let way_out = if known.is_empty() {
        "none is configured: name a configuration file with STORAGE_CONFIG, or give a storage's URL with \
         STORAGE_<NAME>_URL"
            .to_owned()
    } else {
        format!("known are {}", known.join(", "))
    };
    Error::config(format!("no storage is called {name:?}; {way_out}"))
}
