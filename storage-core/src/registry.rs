//! [`Registry`]: registers drivers by name and builds storages from configurations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::config::{
    CommonOptions, DeclaredOptions, OptionSpec, Options, StorageConfig, StoragesConfig, Value,
};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::layers;
use crate::memory;
use crate::named::Named;
use crate::storage::Storage;

type Build = Arc<dyn Fn(Options, &BuildContext<'_>) -> Result<Arc<dyn Driver>> + Send + Sync>;
type ReadUrl = Arc<dyn Fn(&Url) -> Result<Options> + Send + Sync>;

/// Drivers by name, and the URL schemes of drivers. Builds storages from configurations and URLs.
///
/// A registry is a value. Third-party drivers register in the same way as the drivers of this
/// project, and two registries are independent.
///
/// ```
/// use std::sync::Arc;
/// use storage_core::config::{NoOptions, Options};
/// use storage_core::{Memory, Registry};
///
/// let mut registry = Registry::with_memory();
/// registry.register("scratch", |_: NoOptions, _context| Ok(Arc::new(Memory::new())));
/// registry.register_scheme("scratch", "scratch", "scratch:", |_url| Ok(Options::new()));
/// let storage = registry.open_url("scratch:?read_only=true")?;
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    drivers: Named<Registered>,
    schemes: Named<Scheme>,
    /// Names of known drivers and schemes that are not registered, and what to do to use them.
    missing: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Registered {
    options: &'static [OptionSpec],
    build: Build,
}

#[derive(Clone)]
struct Scheme {
    driver: String,
    form: String,
    read: ReadUrl,
}

/// A registered driver, for listings and manuals: see [`Registry::describe`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DriverDescription<'a> {
    /// The name that the option `driver` selects it by.
    pub name: &'a str,
    /// The forms of its URLs: `file:///abs/path`. Empty if it has none.
    pub url_forms: Vec<&'a str>,
    /// Its own options. Every driver also takes those of [`CommonOptions`].
    pub options: &'static [OptionSpec],
}

/// The longest chain of storages that refer to each other. Each is a driver around a driver, so the
/// stack of every call grows with the chain.
const MAX_DEPTH: usize = 16;

impl Registry {
    /// Creates a registry without drivers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a registry with the driver `memory` and its URL `memory:`.
    #[must_use]
    pub fn with_memory() -> Self {
        let mut registry = Self::new();
        registry.register("memory", |options, context| {
            memory::build(options, context.common().public_url.clone())
        });
        registry.register_scheme("memory", "memory", "memory:", |url| match url.path() {
            "" if !url.has_authority() => Ok(Options::new()),
            _ => Err(Error::config(
                "a memory URL has nothing but options after memory:, as in memory:?prefix=a",
            )),
        });
        registry
    }

    /// Registers a driver, or replaces the one of that name.
    ///
    /// `build` receives the driver's own options, which [`options!`](crate::options!) declares.
    /// The registry applies those of [`CommonOptions`] itself, as layers around the driver.
    pub fn register<O, F>(&mut self, name: impl Into<String>, build: F) -> &mut Self
    where
        O: DeclaredOptions + 'static,
        F: Fn(O, &BuildContext<'_>) -> Result<Arc<dyn Driver>> + Send + Sync + 'static,
    {
        let name = name.into();
        let driver = name.clone();
        let build = move |options: Options, context: &BuildContext<'_>| {
            build(O::read_from(options, &driver)?, context)
        };
        self.drivers.insert(name, Registered { options: O::SPECS, build: Arc::new(build) });
        self
    }

    /// Registers a URL scheme for a driver.
    ///
    /// `form` shows people what such a URL looks like: `"file:///abs/path"`. `read` converts what
    /// stands before the query to options; the registry adds the parameters of the query by name.
    pub fn register_scheme<F>(
        &mut self,
        scheme: impl Into<String>,
        driver: impl Into<String>,
        form: impl Into<String>,
        read: F,
    ) -> &mut Self
    where
        F: Fn(&Url) -> Result<Options> + Send + Sync + 'static,
    {
        let scheme_of = Scheme { driver: driver.into(), form: form.into(), read: Arc::new(read) };
        self.schemes.insert(scheme.into(), scheme_of);
        self
    }

    /// Adds a hint to the errors for a driver that is not registered, and for its URL schemes.
    /// `what_to_do` states how to get the driver: "enable the feature `s3`". A registered driver or
    /// scheme of the same name takes precedence.
    ///
    /// ```
    /// use storage_core::Registry;
    ///
    /// let mut registry = Registry::with_memory();
    /// registry.note_missing("tape", &["tape"], "use the crate tape-storage");
    /// let error = registry.open_url("tape:1").unwrap_err();
    /// assert_eq!(error.message(), "unknown URL scheme tape: use the crate tape-storage; known URL schemes: memory:");
    /// ```
    pub fn note_missing(&mut self, driver: &str, schemes: &[&str], what_to_do: &str) -> &mut Self {
        for name in [driver].iter().chain(schemes) {
            self.missing.insert((*name).to_owned(), what_to_do.to_owned());
        }
        self
    }

    /// Returns the hint for a driver or scheme, with a colon, or an empty text.
    fn hint(&self, name: &str) -> String {
        self.missing.get(name).map_or_else(String::new, |what_to_do| format!(": {what_to_do}"))
    }

    /// Returns the names of the registered drivers, sorted.
    pub fn drivers(&self) -> impl Iterator<Item = &str> {
        self.drivers.names()
    }

    /// Returns the URL forms and the options of a driver, or `None` if it is not registered.
    ///
    /// ```
    /// use storage_core::Registry;
    ///
    /// let registry = Registry::with_memory();
    /// let memory = registry.describe("memory").ok_or("not registered")?;
    /// assert_eq!((memory.url_forms, memory.options.len()), (vec!["memory:"], 1));
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    pub fn describe(&self, driver: &str) -> Option<DriverDescription<'_>> {
        let (name, registered) = self.drivers.get_key_value(driver)?;
        let schemes = self.schemes.values().filter(|scheme| scheme.driver == driver);
        Some(DriverDescription {
            name,
            url_forms: schemes.map(|scheme| scheme.form.as_str()).collect(),
            options: registered.options,
        })
    }

    /// Returns the registered URL schemes, sorted.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.schemes.names()
    }

    /// Builds the storage of a URL.
    ///
    /// # Errors
    /// `InvalidConfig` if the text is not a URL, if its scheme is unknown, if it contains a user
    /// name, a password or a secret option, or if an option is unknown, repeated or invalid. Errors
    /// of the driver.
    pub fn open_url(&self, url: &str) -> Result<Storage> {
        self.open_config(&self.config_of_url(url)?)
    }

    /// Builds a storage that refers to no other named storage.
    ///
    /// # Errors
    /// `InvalidConfig`, and errors of the driver.
    pub fn open_config(&self, config: &StorageConfig) -> Result<Storage> {
        Building::new(self, &StoragesConfig::new()).build(config, None).map(|(storage, _)| storage)
    }

    /// Builds one of the named storages, and the storages that it refers to.
    ///
    /// # Errors
    /// `InvalidConfig` if the name is unknown, if storages refer to each other in a cycle, which
    /// the message shows, or if a chain of references is longer than 16. Errors of the drivers.
    pub fn open_named(&self, configs: &StoragesConfig, name: &str) -> Result<Storage> {
        Building::new(self, configs).named(name)
    }

    /// Builds all of the named storages. Storages that refer to the same storage share it.
    ///
    /// # Errors
    /// As [`open_named`](Self::open_named).
    pub fn open_all(&self, configs: &StoragesConfig) -> Result<BTreeMap<String, Storage>> {
        let building = Building::new(self, configs);
        configs.names().map(|name| Ok((name.to_owned(), building.named(name)?))).collect()
    }

    /// Converts a URL to a configuration.
    ///
    /// # Errors
    /// As [`open_url`](Self::open_url), except errors of the driver.
    pub fn config_of_url(&self, text: &str) -> Result<StorageConfig> {
        // No error shows the text, because it may contain a password.
        let url = Url::parse(text).map_err(|cause| {
            Error::config(format!(
                "not a URL of a storage; a URL begins with one of {}",
                self.scheme_list()
            ))
            .with_source(cause)
        })?;
        let scheme = url.scheme();
        // The parser reads file:media as file:///media, which is not what the user wrote.
        if scheme == "file" && !text[scheme.len() + 1..].starts_with('/') {
            return Err(Error::config("a file URL has an absolute path: file:///abs/path"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::config(format!(
                "a {scheme} URL must not contain a user name or a password: set secrets in the \
                 environment, a profile or a configuration file"
            )));
        }
        if url.fragment().is_some() {
            return Err(Error::config(format!(
                "a {scheme} URL cannot contain a '#': write %23 for a '#' in a name"
            )));
        }
        let Scheme { driver, read, .. } = self.schemes.get(scheme).ok_or_else(|| {
            Error::config(if self.drivers.get(scheme).is_some() {
                format!("driver {scheme} has no URL form: configure it in a config file")
            } else {
                format!(
                    "unknown URL scheme {scheme}{}; known URL schemes: {}",
                    self.hint(scheme),
                    self.scheme_list()
                )
            })
        })?;
        let mut options = read(&url)?;
        for (name, value) in url.query_pairs() {
            if options.insert(name.clone(), value.into_owned()).is_some() {
                return Err(Error::config(format!("option {name} is given twice in the URL")));
            }
        }
        options.mark_as_url();
        StorageConfig::new(driver.clone(), options)
    }

    fn scheme_list(&self) -> String {
        self.schemes().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("drivers", &self.drivers.names().collect::<Vec<_>>())
            .field("schemes", &self.schemes.names().collect::<Vec<_>>())
            .finish()
    }
}

/// What the function that builds a driver can use beside the driver's own options.
#[derive(Debug)]
pub struct BuildContext<'a> {
    building: &'a Building<'a>,
    common: &'a CommonOptions,
}

impl BuildContext<'_> {
    /// Returns the common options of this storage. A driver that makes public links itself, or
    /// needs the base of signed links, reads `public_url` here.
    #[must_use]
    pub fn common(&self) -> &CommonOptions {
        self.common
    }

    /// Builds another storage: the one of a name, or that of an inline table.
    ///
    /// # Errors
    /// As [`Registry::open_named`]. `InvalidConfig` if the value is neither a string nor a table.
    pub fn storage(&self, value: &Value) -> Result<Storage> {
        match value {
            Value::String(name) => self.building.named(name),
            Value::Table(table) => {
                let config = StorageConfig::from_options(table.clone())?;
                self.building.build(&config, None).map(|(storage, _)| storage)
            }
            _ => Err(Error::config("expected the name of a storage, or a table")),
        }
    }
}

/// One run of building: the finished storages, and the chain of those that are being built.
#[derive(Debug)]
struct Building<'a> {
    registry: &'a Registry,
    configs: &'a StoragesConfig,
    /// Finished storages, each with the length of its longest chain of references, itself included.
    done: RefCell<Named<(Storage, usize)>>,
    in_progress: RefCell<Vec<String>>,
    /// For each storage that is being built, named or inline, the greatest height of those that it
    /// has referred to.
    heights: RefCell<Vec<usize>>,
}

impl<'a> Building<'a> {
    fn new(registry: &'a Registry, configs: &'a StoragesConfig) -> Self {
        let (done, in_progress, heights) = Default::default();
        Self { registry, configs, done, in_progress, heights }
    }

    fn named(&self, name: &str) -> Result<Storage> {
        if let Some((storage, height)) = self.done.borrow().get(name) {
            self.refers_to(*height);
            return Ok(storage.clone());
        }
        let config = self.configs.get(name).ok_or_else(|| self.unknown(name))?;
        self.enter(name)?;
        let built = self.build(config, Some(name));
        self.in_progress.borrow_mut().pop();
        let (storage, height) = built?;
        self.done.borrow_mut().insert(name.to_owned(), (storage.clone(), height));
        Ok(storage)
    }

    /// Records that the storage that is being built refers to one of this height.
    fn refers_to(&self, height: usize) {
        if let Some(highest) = self.heights.borrow_mut().last_mut() {
            *highest = height.max(*highest);
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<_> = self.configs.names().collect();
        let known = if known.is_empty() {
            "no storage is configured".to_owned()
        } else {
            format!("known storages: {}", known.join(", "))
        };
        // The message does not show a URL, because it may contain a password.
        if name.contains(':') {
            return Error::config(format!("refer to a storage by its name, not by a URL; {known}"));
        }
        Error::config(format!("no storage is called {name:?}; {known}"))
    }

    fn enter(&self, name: &str) -> Result<()> {
        let mut in_progress = self.in_progress.borrow_mut();
        if let Some(start) = in_progress.iter().position(|other| other == name) {
            let cycle = [&in_progress[start..], &[name.to_owned()]].concat().join(" -> ");
            return Err(Error::config(format!("storages refer to each other in a cycle: {cycle}")));
        }
        in_progress.push(name.to_owned());
        Ok(())
    }

    /// Builds a storage and returns its height with it.
    fn build(&self, config: &StorageConfig, name: Option<&str>) -> Result<(Storage, usize)> {
        // Checked before the recursion, so that its stack is bounded too.
        if self.heights.borrow().len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.heights.borrow_mut().push(0);
        let built = self.build_layers(config);
        let height = self.heights.borrow_mut().pop().unwrap_or_default() + 1;
        self.refers_to(height);
        let built = built.and_then(|storage| {
            if height > MAX_DEPTH { Err(too_deep()) } else { Ok((storage, height)) }
        });
        built.map_err(|error| match name {
            Some(name) => error.with_context(&format!("[storages.{name}]")),
            None => error,
        })
    }

    fn build_layers(&self, config: &StorageConfig) -> Result<Storage> {
        let StorageConfig { driver, common, options } = config;
        let registered = self.registry.drivers.get(driver).ok_or_else(|| {
            let known = self.registry.drivers().collect::<Vec<_>>().join(", ");
            Error::config(format!(
                "unknown driver {driver:?}{}; known drivers: {known}",
                self.registry.hint(driver)
            ))
        })?;
        let inner = (registered.build)(options.clone(), &BuildContext { building: self, common })?;
        Ok(Storage::from_arc(with_layers(inner, common)?))
    }
}

fn too_deep() -> Error {
    Error::config(format!(
        "more than {MAX_DEPTH} storages refer to each other in a row; let them refer to fewer"
    ))
}

/// Wraps a driver in the layers of its common options, innermost first.
fn with_layers(inner: Arc<dyn Driver>, common: &CommonOptions) -> Result<Arc<dyn Driver>> {
    let mut driver = inner;
    if let Some(base) = &common.public_url
        && !driver.info().capabilities.public_url
    {
        driver = Arc::new(layers::PublicUrl::new(driver, base.clone()));
    }
    if let Some(prefix) = &common.prefix {
        let prefixed = layers::Prefixed::new(driver, prefix);
        driver = Arc::new(
            prefixed
                .map_err(|error| Error::config(format!("option prefix: {}", error.message())))?,
        );
    }
    if let Some(headers) = &common.default_headers {
        driver = Arc::new(layers::DefaultMetadata::new(driver, headers.clone()));
    }
    if common.read_only {
        driver = Arc::new(layers::ReadOnly::new(driver));
    }
    if let Some(timeout) = common.timeout {
        driver = Arc::new(layers::Timeout::new(driver, timeout));
    }
    if let Some(retries) = common.retries.filter(|&retries| retries > 0) {
        driver = Arc::new(layers::Retry::new(driver, retries));
    }
    Ok(Arc::new(layers::Observed::new(driver)))
}
