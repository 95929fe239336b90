//! [`Definitions`]: storages that are read from a configuration but not built.

use std::collections::BTreeMap;
use std::fmt;

use storage_core::config::{StorageConfig, StoragesConfig};
use storage_core::{Error, ErrorKind, Registry, Result, Storage};

use crate::storages::{Storages, unknown_storage};

/// The definitions of the storages in a configuration. [`open`](Self::open) builds one storage and
/// those that it refers to. Mistakes in the other definitions do not affect it, so tools can use
/// one storage of many.
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
    /// The valid definitions.
    valid: StoragesConfig,
    /// The errors of the invalid definitions, by name.
    invalid: BTreeMap<String, String>,
    /// The file or the variable of each definition, for messages.
    origins: BTreeMap<String, String>,
}

impl Definitions {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            valid: StoragesConfig::new(),
            invalid: BTreeMap::new(),
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
            Ok(config) => self.valid.insert(name, config),
            Err(error) => {
                self.invalid.insert(name.to_owned(), error.message().to_owned());
            }
        }
    }

    /// Returns the names of all storages in alphabetical order, including those with an invalid
    /// definition.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<_> =
            self.valid.names().chain(self.invalid.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// Returns whether a storage with this name is defined.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.valid.get(name).is_some() || self.invalid.contains_key(name)
    }

    /// Returns the configuration of a storage, with `${VAR}` replaced. Returns `None` if there is
    /// no such storage, or if its definition is invalid. [`open`](Self::open) then reports the
    /// reason.
    #[must_use]
    pub fn config(&self, name: &str) -> Option<&StorageConfig> {
        self.valid.get(name)
    }

    /// Builds one storage and those that it refers to. Every call builds new ones.
    ///
    /// # Errors
    /// `InvalidConfig` if there is no such storage, if its definition is invalid, or if storages
    /// refer to each other in a cycle; the message contains it. Also the errors of the drivers.
    pub fn open(&self, name: &str) -> Result<Storage> {
        if let Some(reason) = self.invalid.get(name) {
            return Err(self.with_origin(name, Error::config(reason.clone())));
        }
        if !self.contains(name) {
            return Err(unknown_storage(name, self.names()));
        }
        self.registry.open_named(&self.valid, name).map_err(|error| self.with_notes(name, error))
    }

    /// Builds all storages.
    ///
    /// # Errors
    /// The error of [`open`](Self::open) for the first storage that fails.
    pub fn open_all(&self) -> Result<Storages> {
        if let Some((name, reason)) = self.invalid.iter().next() {
            return Err(self.with_origin(name, Error::config(reason.clone())));
        }
        self.registry.open_all(&self.valid).map(Storages::new).map_err(|error| {
            // Building them one by one adds the place of the definition to the error.
            self.names().find_map(|name| self.open(name).err()).unwrap_or(error)
        })
    }

    fn with_origin(&self, name: &str, error: Error) -> Error {
        match self.origins.get(name) {
            Some(origin) => error.with_context(origin),
            None => error,
        }
    }

    /// Adds the place of the definition to an error, and the errors of invalid definitions, because
    /// the storage may need one of them.
    fn with_notes(&self, name: &str, error: Error) -> Error {
        let mut error = self.with_origin(name, error);
        if error.kind() == ErrorKind::InvalidConfig {
            for (other, reason) in &self.invalid {
                // If both are in the same file, the message contains its name only once.
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

/// Shows the names only, because definitions may contain secrets.
impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definitions")
            .field("names", &self.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
