//! [`Definitions`]: storages that have been read, but not built.

use std::collections::BTreeMap;
use std::fmt;

use storage_core::config::{StorageConfig, StoragesConfig};
use storage_core::{Error, ErrorKind, Registry, Result, Storage};

use crate::storages::{Storages, unknown};

/// Storages as a configuration defines them. Each is built when it is asked for, with those that it
/// refers to, so a mistake elsewhere in the configuration is in nobody's way: for tools that use
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
    /// Those that could be read.
    sound: StoragesConfig,
    /// Why the others could not be.
    broken: BTreeMap<String, String>,
    /// Where each is defined, for people: a file, a variable.
    origins: BTreeMap<String, String>,
}

impl Definitions {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            sound: StoragesConfig::new(),
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
            Ok(config) => self.sound.insert(name, config),
            Err(error) => {
                self.broken.insert(name.to_owned(), error.message().to_owned());
            }
        }
    }

    /// The names, sorted, of all storages: those that cannot be built included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<_> =
            self.sound.names().chain(self.broken.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// Whether a storage of this name is defined.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.sound.get(name).is_some() || self.broken.contains_key(name)
    }

    /// Returns the configuration of a storage, with `${VAR}` replaced. `None` if there is none of
    /// that name, or if it could not be read: [`open`](Self::open) says why.
    #[must_use]
    pub fn config(&self, name: &str) -> Option<&StorageConfig> {
        self.sound.get(name)
    }

    /// Builds one storage, and those it refers to. Every call builds anew.
    ///
    /// # Errors
    /// `InvalidConfig` if there is none of that name, if what defines it is wrong, or if storages
    /// refer to each other in a circle, which is shown; and what the drivers say.
    pub fn open(&self, name: &str) -> Result<Storage> {
        if let Some(reason) = self.broken.get(name) {
            return Err(self.placed(name, Error::config(reason.clone())));
        }
        if !self.contains(name) {
            return Err(unknown(name, self.names()));
        }
        self.registry.open_named(&self.sound, name).map_err(|error| self.explained(name, error))
    }

    /// Builds all of them.
    ///
    /// # Errors
    /// As [`open`](Self::open), for the first that fails.
    pub fn open_all(&self) -> Result<Storages> {
        if let Some((name, reason)) = self.broken.iter().next() {
            return Err(self.placed(name, Error::config(reason.clone())));
        }
        self.registry.open_all(&self.sound).map(Storages::new).map_err(|error| {
            // Once more, one by one: that error tells where the storage is defined.
            self.names().find_map(|name| self.open(name).err()).unwrap_or(error)
        })
    }

    fn placed(&self, name: &str, error: Error) -> Error {
        match self.origins.get(name) {
            Some(origin) => error.with_context(origin),
            None => error,
        }
    }

    /// An error of building one storage, with where that is defined. If another one could not be
    /// read, this one may have failed for want of it, and that is said too.
    fn explained(&self, name: &str, error: Error) -> Error {
        let mut error = self.placed(name, error);
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

/// Names, and nothing of what defines them.
impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definitions")
            .field("names", &self.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
