//! [`Loader`]: reads definitions of storages from TOML and from the environment.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use storage_core::config::{Options, StorageConfig, StoragesConfig, Value, expand_variables};
use storage_core::{Error, Registry, Result, Storage};

use crate::definitions::Definitions;
use crate::environment::Environment;
use crate::toml_text;

/// Names a configuration file.
const CONFIG: &str = "STORAGE_CONFIG";

/// Reads what defines storages. [`Storages`](crate::Storages) has short cuts for the usual case;
/// use this with drivers of your own, with an environment that is not the process's, or to build
/// storages one by one.
///
/// ```
/// use std::sync::Arc;
/// use anystorage::config::NoOptions;
/// use anystorage::{Loader, Memory};
///
/// let mut registry = anystorage::registry();
/// registry.register("mine", |_: NoOptions, _context| Ok(Arc::new(Memory::new())));
///
/// let loader = Loader::new().with_registry(registry);
/// let storages = loader.toml_str("[storages.default]\ndriver = 'mine'")?.open_all()?;
/// storages.default_storage()?;
/// # Ok::<(), anystorage::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Loader {
    registry: Registry,
    environment: Environment,
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader {
    /// With the drivers of the enabled features and the environment of the process.
    #[must_use]
    pub fn new() -> Self {
        Self { registry: crate::registry(), environment: Environment::process() }
    }

    /// With these drivers instead.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// With these environment variables instead.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Reads the `[storages.*]` tables of a TOML document. Its other tables belong to the
    /// application and are not looked at. `${VAR}` inside a string is replaced by that environment
    /// variable.
    ///
    /// # Errors
    /// `InvalidConfig` with the line if the text is not TOML, or if there is no `storages` table. A
    /// mistake inside one storage's table shows when that storage is built.
    pub fn toml_str(&self, text: &str) -> Result<Definitions> {
        Ok(self.define(tables(text, None)?))
    }

    /// Reads the `[storages.*]` tables of a TOML file, as [`toml_str`](Self::toml_str) does. Blocks
    /// while it reads.
    ///
    /// # Errors
    /// As [`toml_str`](Self::toml_str), with the file's name; `InvalidConfig` if it cannot be read.
    pub fn toml_file(&self, path: impl AsRef<Path>) -> Result<Definitions> {
        Ok(self.define(tables_of_file(path.as_ref())?))
    }

    /// Reads what the environment names: the file of `STORAGE_CONFIG`, and the storages of
    /// `STORAGE_<NAME>_URL`, which come before those of the file.
    ///
    /// `STORAGE_USER_UPLOADS_URL` replaces the storage of the file that is called `user_uploads`,
    /// or `user-uploads`, or in any other way that a variable's name cannot tell apart; if there is
    /// none, it defines `user_uploads`. A variable that is empty counts as unset. Nothing set is no
    /// error, but then there is no storage.
    ///
    /// # Errors
    /// As [`toml_file`](Self::toml_file).
    pub fn env(&self) -> Result<Definitions> {
        let mut sources = match self.environment.setting(CONFIG) {
            Some(path) => tables_of_file(Path::new(&path))?,
            None => Sources::new(),
        };
        for variable in self.environment.names() {
            if let Some(name) = storage_of_variable(&variable)
                && let Some(url) = self.environment.setting(&variable)
            {
                let name = replaced(&sources, name, &variable)?;
                sources.insert(name, Source::Variable { variable, url });
            }
        }
        Ok(self.define(sources))
    }

    /// Takes the storages of an application's own configuration. `${VAR}` has no meaning in them.
    #[must_use]
    pub fn config(&self, config: &StoragesConfig) -> Definitions {
        let mut definitions = Definitions::new(self.registry.clone());
        for name in config.names() {
            if let Some(config) = config.get(name) {
                definitions.insert(name, None, Ok(config.clone()));
            }
        }
        definitions
    }

    /// Opens one storage: by its URL, or by its name in the environment. See [`open`](crate::open).
    ///
    /// # Errors
    /// `InvalidConfig` that says what is wrong and lists what is known; and what the driver says.
    pub fn open(&self, location: &str) -> Result<Storage> {
        if location.contains(':') {
            return self.registry.open_url(location);
        }
        if location.contains('/') {
            return Err(Error::config(
                "neither a URL nor a storage's name; a directory is written file:///absolute/path",
            ));
        }
        self.env()?.open(location)
    }

    fn define(&self, sources: Sources) -> Definitions {
        let mut definitions = Definitions::new(self.registry.clone());
        for (name, source) in sources {
            let (origin, config) = self.read(&name, source);
            definitions.insert(&name, origin.as_deref(), config);
        }
        definitions
    }

    fn read(&self, name: &str, source: Source) -> (Option<String>, Result<StorageConfig>) {
        match source {
            Source::Table { file, table } => {
                let config = self
                    .read_table(table)
                    .map_err(|error| error.with_context(&format!("[storages.{name}]")));
                (file, config)
            }
            Source::Variable { variable, url } => {
                let url = Environment::text(&variable, url);
                let config = url.and_then(|url| self.registry.config_of_url(&url));
                (Some(variable), config)
            }
        }
    }

    fn read_table(&self, table: Value) -> Result<StorageConfig> {
        let Value::Table(options) = table else {
            return Err(Error::config(
                "expected a table, as in driver = \"fs\" on a line of its own below this name",
            ));
        };
        StorageConfig::from_options(self.expanded(options)?)
    }

    /// Replaces variables in all strings of a table.
    pub(crate) fn expanded(&self, mut options: Options) -> Result<Options> {
        let not_text = Cell::new(None);
        let lookup = |name: &str| {
            let value = self.environment.get(name)?;
            Environment::text(name, value).map_err(|error| not_text.set(Some(error))).ok()
        };
        expand_variables(&mut options, &lookup)
            .map_err(|missing| not_text.take().unwrap_or(missing))?;
        Ok(options)
    }

    /// The storages of `[storages.*]` tables.
    #[cfg(feature = "mirror")]
    pub(crate) fn definitions_of(&self, storages: Options) -> Definitions {
        let tables =
            storages.into_iter().map(|(name, table)| (name, Source::Table { file: None, table }));
        self.define(tables.collect())
    }

    #[cfg(feature = "mirror")]
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// What defines a storage, as it was found.
enum Source {
    Table { file: Option<String>, table: Value },
    Variable { variable: String, url: OsString },
}

type Sources = BTreeMap<String, Source>;

fn tables_of_file(path: &Path) -> Result<Sources> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Error::config(format!("{shown}: cannot be read")).with_source(cause))?;
    tables(&text, Some(&shown)).map_err(|error| error.with_context(&shown))
}

fn tables(text: &str, file: Option<&str>) -> Result<Sources> {
    let mut document = toml_text::parse(text)?;
    match document.remove("storages") {
        Some(toml::Value::Table(storages)) => Ok(storages
            .into_iter()
            .map(|(name, table)| {
                (
                    name,
                    Source::Table { file: file.map(str::to_owned), table: toml_text::value(table) },
                )
            })
            .collect()),
        Some(_) => Err(Error::config("storages: expected tables, as in [storages.default]")),
        // Far more often a misspelt header than a wish for no storage; that is written [storages].
        None => Err(Error::config("there is no [storages.NAME] table")),
    }
}

/// `USER_UPLOADS` of `STORAGE_USER_UPLOADS_URL`.
fn storage_of_variable(variable: &str) -> Option<&str> {
    variable.strip_prefix("STORAGE_")?.strip_suffix("_URL").filter(|name| !name.is_empty())
}

/// The name of the storage that a variable defines or replaces.
fn replaced(sources: &Sources, name: &str, variable: &str) -> Result<String> {
    let plain = name.to_lowercase();
    if sources.contains_key(&plain) {
        return Ok(plain);
    }
    let spelt_so: Vec<_> =
        sources.keys().filter(|known| spelling(known) == spelling(name)).collect();
    match *spelt_so {
        [] => Ok(plain),
        [only] => Ok(only.clone()),
        [first, second, ..] => Err(Error::config(format!(
            "{variable} could mean {first:?} or {second:?}: rename one of them, since a variable cannot tell them apart"
        ))),
    }
}

/// What is left of a name in a variable.
fn spelling(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
