//! Reads the configuration of a mirror server: a file with its options, its origin, and the
//! storages that origin refers to.

use std::path::Path;

use storage_core::config::{Options, StorageConfig, Value};
use storage_core::{Error, Result, Storage};
use storage_mirror::MirrorConfig;

use crate::loader::Loader;
use crate::toml_text;

/// The options and the origin of a mirror server. Pass both to
/// [`Server::bind`](storage_mirror::Server::bind).
#[derive(Debug)]
#[non_exhaustive]
pub struct MirrorSetup {
    /// The options of the mirror.
    pub config: MirrorConfig,
    /// The storage that the mirror reads from.
    pub origin: Storage,
}

impl Loader {
    /// Reads the configuration of a mirror: its options, and `origin`, which is the name of a
    /// `[storages.*]` table in the same text, a URL, or a table.
    ///
    /// ```
    /// # use anystorage::Loader;
    /// let setup = Loader::new().mirror_str(r#"
    ///     listen = "127.0.0.1:8080"
    ///     cache_dir = "/var/cache/anystorage"
    ///     max_size = "50GiB"
    ///     origin = "media"
    ///
    ///     [storages.media]
    ///     driver = "memory"
    /// "#)?;
    /// assert_eq!(setup.origin.info().name, "memory");
    /// # Ok::<(), anystorage::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` with the name of the option and without its value, and the errors of the
    /// driver of origin.
    pub fn mirror_str(&self, text: &str) -> Result<MirrorSetup> {
        let mut document = toml_text::parse(text)?;
        let storages = document.remove("storages");
        let Some(origin) = document.remove("origin") else {
            return Err(Error::config(
                "option origin is missing: the name of a storage, a URL, or a table [origin]",
            ));
        };
        let mut expanded = self.expanded(Options::new().with("origin", origin))?;
        let origin = expanded.remove("origin").unwrap_or_else(|| Value::from(""));
        let origin = self.origin(origin, storages).map_err(|error| error.with_context("origin"))?;
        Ok(MirrorSetup { config: self.mirror_config(document)?, origin })
    }

    /// Reads the configuration of a mirror from a file, like [`mirror_str`](Self::mirror_str).
    ///
    /// # Errors
    /// The errors of [`mirror_str`](Self::mirror_str) with the name of the file.
    pub fn mirror_file(&self, path: impl AsRef<Path>) -> Result<MirrorSetup> {
        with_file(path.as_ref(), |text| self.mirror_str(text))
    }

    /// Reads only the options of a mirror from a file, for programs that send requests to its admin
    /// routes. Ignores `origin` and the storages, whose variables and secrets may be missing.
    ///
    /// ```
    /// # use anystorage::Loader;
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("mirror.toml");
    /// std::fs::write(&path, r#"
    ///     listen = "127.0.0.1:8080"
    ///     cache_dir = "/var/cache/anystorage"
    ///     max_size = "50GiB"
    ///     origin = "s3://${BUCKET}/"
    /// "#)?;
    /// let config = Loader::new().mirror_config_file(&path)?;
    /// assert_eq!(config.listen.port(), 8080);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` with the name of the file and of the option, and without its value.
    pub fn mirror_config_file(&self, path: impl AsRef<Path>) -> Result<MirrorConfig> {
        with_file(path.as_ref(), |text| {
            let mut document = toml_text::parse(text)?;
            document.remove("storages");
            document.remove("origin");
            self.mirror_config(document)
        })
    }

    fn mirror_config(&self, document: Options) -> Result<MirrorConfig> {
        self.expanded(document)?.read_table::<MirrorConfig>()?.validated()
    }

    fn origin(&self, origin: Value, storages: Option<Value>) -> Result<Storage> {
        let storages = match storages {
            Some(Value::Table(storages)) => storages,
            None => Options::new(),
            Some(_) => {
                return Err(Error::config("storages: expected tables, as in [storages.media]"));
            }
        };
        match origin {
            Value::String(url) if url.contains(':') => self.registry().open_url(&url),
            Value::String(name) => self.definitions_of(storages).open(&name),
            Value::Table(options) => {
                let config = StorageConfig::from_options(options)?;
                self.registry().open_config(&config)
            }
            _ => Err(Error::config("expected the name of a storage, a URL, or a table")),
        }
    }
}

/// Reads a file and adds its name to the errors.
fn with_file<T>(path: &Path, read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Error::config(format!("{shown}: cannot be read")).with_source(cause))?;
    read(&text).map_err(|error| error.with_context(&shown))
}
