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

/// The variable with the name of a configuration file.
const CONFIG: &str = "STORAGE_CONFIG";

/// Reads definitions of storages. [`Storages`](crate::Storages) has shortcuts for the usual case.
/// Use a `Loader` for your own drivers, for other variables than those of the process, or to build
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
    /// Creates a loader with the drivers of the enabled features and the environment of the
    /// process.
    #[must_use]
    pub fn new() -> Self {
        Self { registry: crate::registry(), environment: Environment::process() }
    }

    /// Sets the drivers.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Sets the environment variables.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Reads the `[storages.*]` tables of a TOML document. Ignores other tables, which belong to
    /// the application. Replaces `${VAR}` in a string with that environment variable.
    ///
    /// # Errors
    /// `InvalidConfig` with the line if the text is not TOML, or if there is no `storages` table. A
    /// mistake in the table of a storage is reported when that storage is built.
    pub fn toml_str(&self, text: &str) -> Result<Definitions> {
        Ok(self.define(tables(text, None)?))
    }

    /// Reads the `[storages.*]` tables of a TOML file, like [`toml_str`](Self::toml_str). Blocks
    /// while it reads.
    ///
    /// # Errors
    /// The errors of [`toml_str`](Self::toml_str) with the name of the file, and `InvalidConfig` if
    /// it cannot be read.
    pub fn toml_file(&self, path: impl AsRef<Path>) -> Result<Definitions> {
        Ok(self.define(tables_of_file(path.as_ref())?))
    }

    /// Reads the file of `STORAGE_CONFIG`, and the storages of `STORAGE_<NAME>_URL`, which replace
    /// those of the file.
    ///
    /// `STORAGE_USER_UPLOADS_URL` replaces the storage `user_uploads` of the file, or
    /// `user-uploads`, or another name with the same letters and digits. Without such a storage it
    /// defines `user_uploads`. An empty variable counts as unset. If no variable is set, the result
    /// contains no storages.
    ///
    /// # Errors
    /// The errors of [`toml_file`](Self::toml_file).
    pub fn env(&self) -> Result<Definitions> {
        let mut sources = match self.environment.setting(CONFIG) {
            Some(path) => tables_of_file(Path::new(&path))?,
            None => Sources::new(),
        };
        for variable in self.environment.names() {
            if let Some(name) = storage_of_variable(&variable)
                && let Some(url) = self.environment.setting(&variable)
            {
                let name = storage_name(&sources, name, &variable)?;
                sources.insert(name, Source::Variable { variable, url });
            }
        }
        Ok(self.define(sources))
    }

    /// Returns the definitions of an application's own configuration. Does not replace `${VAR}`.
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

    /// Opens one storage by its URL, or by its name in the environment. See [`open`](crate::open).
    ///
    /// # Errors
    /// `InvalidConfig` with the mistake and the known names, and the errors of the driver.
    pub fn open(&self, location: &str) -> Result<Storage> {
        if location.contains(':') {
            return self.registry.open_url(location);
        }
        if location.contains('/') {
            return Err(Error::config(format!(
                "{location:?} is neither a URL nor the name of a storage: for a directory, write \
                 file:///absolute/path"
            )));
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
                "expected a table, as in driver = \"fs\" on a separate line below this name",
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

    /// Returns the definitions of `[storages.*]` tables.
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

/// The source of a definition.
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
        Some(Value::Table(storages)) => Ok(storages
            .into_iter()
            .map(|(name, table)| (name, Source::Table { file: file.map(str::to_owned), table }))
            .collect()),
        Some(_) => Err(Error::config("storages: expected tables, as in [storages.default]")),
        // This is usually a misspelled header. An empty table [storages] means no storages.
        None => Err(Error::config("there is no [storages.NAME] table")),
    }
}

/// Returns `USER_UPLOADS` for `STORAGE_USER_UPLOADS_URL`.
fn storage_of_variable(variable: &str) -> Option<&str> {
    variable.strip_prefix("STORAGE_")?.strip_suffix("_URL").filter(|name| !name.is_empty())
}

/// Returns the name of the storage that a variable defines or replaces.
fn storage_name(sources: &Sources, name: &str, variable: &str) -> Result<String> {
    let plain = name.to_lowercase();
    if sources.contains_key(&plain) {
        return Ok(plain);
    }
    let matching: Vec<_> =
        sources.keys().filter(|known| variable_form(known) == variable_form(name)).collect();
    match *matching {
        [] => Ok(plain),
        [only] => Ok(only.clone()),
        [first, second, ..] => Err(Error::config(format!(
            "{variable} could mean {first:?} or {second:?}, which have the same variable: rename one \
             of them"
        ))),
    }
}

/// Returns a name in the form that it has in a variable.
fn variable_form(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
