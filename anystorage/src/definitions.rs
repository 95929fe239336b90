//! [`Definitions`]: storages whose configuration has been read, but that are not built.

use std::collections::BTreeMap;
use std::fmt;

use storage_core::config::{StorageConfig, StoragesConfig};
use storage_core::{Error, ErrorKind, Registry, Result, Storage};

use crate::storages::{Storages, unknown};

/// The storages that a configuration defines. Each is built when it is opened, together with those
/// that it refers to, so that a mistake elsewhere in the configuration does not matter. For tools
/// that use one storage of many.
///
/// ```
/// use anystorage::Loader;
///
/// let definitions = Loader::new().toml_str(
///     r#"
///     [storages.good]
///     driver = "memory"
///     [storages.bad]
///     driver = "memory"
///     prefix = "${NO_SUCH_VARIABLE}"
///     "#,
/// )?;
/// definitions.open("good")?;
/// assert!(definitions.open("bad").is_err());
/// assert!(definitions.open_all().is_err());
/// # Ok::<(), anystorage::Error>(())
/// ```
#[derive(Clone)]
pub struct Definitions {
    registry: Registry,
    /// The storages whose configuration could be read.
    readable: StoragesConfig,
    /// For each of the others, why it could not be read.
    broken: BTreeMap<String, String>,
    /// Where each storage is defined, for people: a file, a variable.
    origins: BTreeMap<String, String>,
}

impl Definitions {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            readable: StoragesConfig::new(),
            broken: BTreeMap::new(),
            origins: BTreeMap::new(),
        }
    }

    pub(crate) fn insert(
        &mut self,
        name: &str,
        origin: Option<&str>,
        config: Result<StorageConfig>,
    ) {
        if let Some(origin) = origin {
            self.origins.insert(name.to_owned(), origin.to_owned());
        }
        match config {
            Ok(config) => self.readable.insert(name, config),
            Err(error) => {
                self.broken.insert(name.to_owned(), error.message().to_owned());
            }
        }
    }

    /// Returns the names of all storages, sorted, including those that cannot be built.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<_> =
            self.readable.names().chain(self.broken.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// Returns whether a storage of this name is defined.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.readable.get(name).is_some() || self.broken.contains_key(name)
    }

    /// Returns the configuration of a storage, with `${VAR}` replaced; `None` if no storage has
    /// that name, or if it could not be read, for the reason in the error of [`open`](Self::open).
    #[must_use]
    pub fn config(&self, name: &str) -> Option<&StorageConfig> {
        self.readable.get(name)
    }

    /// Builds one storage and those that it refers to. Every call builds new ones.
    ///
    /// # Errors
    /// `InvalidConfig` if no storage has that name, if its definition is wrong, or if storages
    /// refer to each other in a circle, which the message shows; and the errors of the drivers.
    pub fn open(&self, name: &str) -> Result<Storage> {
        if let Some(reason) = self.broken.get(name) {
            return Err(self.with_origin(name, Error::config(reason.clone())));
        }
        if !self.contains(name) {
            return Err(unknown(name, self.names()));
        }
        self.registry.open_named(&self.readable, name).map_err(|error| self.explained(name, error))
    }

    /// Builds all storages.
    ///
    /// # Errors
    /// As [`open`](Self::open), for the first that fails.
    pub fn open_all(&self) -> Result<Storages> {
        if let Some((name, reason)) = self.broken.iter().next() {
            return Err(self.with_origin(name, Error::config(reason.clone())));
        }
        self.registry.open_all(&self.readable).map(Storages::new).map_err(|error| {
            // Built again one by one, because that error contains where the storage is defined.
            self.names().find_map(|name| self.open(name).err()).unwrap_or(error)
        })
    }

    fn with_origin(&self, name: &str, error: Error) -> Error {
        match self.origins.get(name) {
            Some(origin) => error.with_context(origin),
            None => error,
        }
    }

    /// Adds to an error of building a storage where the storage is defined, and which other
    /// storages could not be read, because this one may refer to one of them.
    fn explained(&self, name: &str, error: Error) -> Error {
        let mut error = self.with_origin(name, error);
        if error.kind() == ErrorKind::InvalidConfig {
            for (other, reason) in &self.broken {
                // The file is named once, at the beginning, if both are defined there.
                let origin = self
                    .origins
                    .get(other)
                    .filter(|origin| Some(*origin) != self.origins.get(name));
                let origin = origin.map_or_else(String::new, |origin| format!("{origin}: "));
                error = error.with_note(&format!("{other} was left out ({origin}{reason})"));
            }
        }
        error
    }
}

/// Shows the names alone, because definitions may contain secrets.
impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definitions")
            .field("names", &self.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
