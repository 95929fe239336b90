//! [`Storages`]: the named storages of an application.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use storage_core::config::StoragesConfig;
use storage_core::{Error, Result, Storage};

use crate::loader::Loader;

/// The named storages of an application. All are built when the configuration is read, so a mistake
/// in it is reported at start-up.
///
/// Cheap to clone. If several storages refer to the same storage, they share it. To use your own
/// drivers, begin with [`Loader::with_registry`].
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
/// assert!(storages.get("defualt").unwrap_err().message().contains("known storages: default"));
/// # Ok::<(), anystorage::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Storages {
    storages: Arc<BTreeMap<String, Storage>>,
}

impl Storages {
    /// Builds the storages of the `[storages.*]` tables of a TOML document. See
    /// [`Loader::toml_str`].
    ///
    /// # Errors
    /// `InvalidConfig` with the place of the mistake, and the errors of the drivers.
    pub fn from_toml_str(text: &str) -> Result<Self> {
        Loader::new().toml_str(text)?.open_all()
    }

    /// Builds the storages of the `[storages.*]` tables of a TOML file. See [`Loader::toml_file`].
    ///
    /// # Errors
    /// The errors of [`from_toml_str`](Self::from_toml_str), and `InvalidConfig` if the file cannot
    /// be read.
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self> {
        Loader::new().toml_file(path)?.open_all()
    }

    /// Builds the storages of the environment, from `STORAGE_CONFIG` and `STORAGE_<NAME>_URL`. See
    /// [`Loader::env`].
    ///
    /// # Errors
    /// The errors of [`from_toml_file`](Self::from_toml_file).
    pub fn from_env() -> Result<Self> {
        Loader::new().env()?.open_all()
    }

    /// Builds the storages of an application's own configuration, in any format.
    ///
    /// Does not replace `${VAR}`, which the application may do when it reads its configuration.
    /// Rejects a secret that contains `${`.
    ///
    /// # Errors
    /// The errors of [`from_toml_str`](Self::from_toml_str).
    pub fn from_config(config: &StoragesConfig) -> Result<Self> {
        Loader::new().config(config).open_all()
    }

    pub(crate) fn new(storages: BTreeMap<String, Storage>) -> Self {
        Self { storages: Arc::new(storages) }
    }

    /// Returns the storage with this name.
    ///
    /// # Errors
    /// `InvalidConfig` with the known names, if there is none.
    pub fn get(&self, name: &str) -> Result<Storage> {
        self.storages.get(name).cloned().ok_or_else(|| unknown_storage(name, self.names()))
    }

    /// Returns the storage with the name `default`.
    ///
    /// # Errors
    /// `InvalidConfig` with the known names, if there is none.
    pub fn default_storage(&self) -> Result<Storage> {
        self.get("default")
    }

    /// Returns the names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.storages.keys().map(String::as_str)
    }
}

pub(crate) fn unknown_storage<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<_> = known.collect();
    let hint = if known.is_empty() {
        "no storage is configured: set STORAGE_CONFIG to a configuration file, or \
         STORAGE_<NAME>_URL to the URL of a storage"
            .to_owned()
    } else {
        format!("known storages: {}", known.join(", "))
    };
    Error::config(format!("no storage is called {name:?}; {hint}"))
}
