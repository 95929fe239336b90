//! [`Resolver`]: finds the storage of each location, and opens every storage once.

use std::io;
use std::path::{Path, PathBuf};

use anystorage::config::{Options, StorageConfig};
use anystorage::{Definitions, Environment, Error, ErrorKind, Loader, Registry, Storage};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::exit::Failure;
use crate::location::{self, Location};
use crate::pattern::Pattern;
use crate::place::Place;

/// What a command does at a location. Determines the root of the storage of a local path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reads or deletes what exists.
    Existing,
    /// Writes an object.
    NewObject,
    /// Writes below a directory.
    NewDirectory,
    /// Deletes a directory and everything below it. The storage is rooted at its parent.
    Subtree,
}

/// What the storages of a run are built from.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The drivers.
    pub(crate) registry: Registry,
    /// The configuration file. Defaults to the one that `STORAGE_CONFIG` names.
    pub(crate) config: Option<PathBuf>,
}

/// The configuration and the open storages of one run.
#[derive(Debug)]
pub(crate) struct Resolver {
    loader: Loader,
    registry: Registry,
    config: Option<PathBuf>,
    /// Read when the first location names a storage, because other locations do not need it.
    definitions: Option<Definitions>,
    named: Vec<(String, Storage)>,
    rooted: Vec<(StorageConfig, Storage)>,
    /// The storage of the symlink that was followed last.
    last_followed: Option<(StorageConfig, Storage)>,
}

impl Resolver {
    /// Fails if the setup names a configuration file that cannot be read.
    pub(crate) fn new(setup: Setup) -> Result<Self, Failure> {
        let named = setup.config.is_some();
        let mut resolver = Self::without_storages(setup);
        // A missing file is an error even if no location needs it.
        if named {
            resolver.definitions()?;
        }
        Ok(resolver)
    }

    /// Returns a resolver for a configuration file that may define no storages. The file is read
    /// when a location needs it.
    pub(crate) fn without_storages(setup: Setup) -> Self {
        let Setup { registry, config } = setup;
        let variable = || std::env::var_os("STORAGE_CONFIG").filter(|file| !file.is_empty());
        let file = config.clone().or_else(|| variable().map(PathBuf::from));
        let environment = config.map_or_else(Environment::process, |file| {
            Environment::process().with("STORAGE_CONFIG", file)
        });
        let loader = Loader::new().with_registry(registry.clone()).with_environment(environment);
        Self {
            loader,
            registry,
            config: file,
            definitions: None,
            named: Vec::new(),
            rooted: Vec::new(),
            last_followed: None,
        }
    }

    /// Returns the configuration file: that of the setup, or the one that `STORAGE_CONFIG` names.
    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Finds the storage of a location.
    pub(crate) fn resolve(
        &mut self,
        location: &Location,
        purpose: Purpose,
    ) -> Result<Place, Failure> {
        match location {
            Location::Standard => Err(Failure::usage(
                "-: standard input or output is not allowed here: write NAME:KEY, a URL or a path",
            )),
            Location::Named { name, key } => {
                let is_url = !self.definitions()?.contains(name)
                    && self.registry.schemes().any(|known| known == name);
                if is_url {
                    self.url(&format!("{name}:{key}"), purpose)
                } else {
                    self.named(name, key)
                }
            }
            Location::Url(text) => self.url(text, purpose),
            Location::Path(path) => self.path(path, purpose),
        }
    }

    /// Returns the definitions of all storages. Reads them on the first call.
    pub(crate) fn definitions(&mut self) -> Result<&Definitions, Failure> {
        if self.definitions.is_none() {
            self.definitions =
                Some(self.loader.env().map_err(|error| Failure::at(&"configuration", &error))?);
        }
        self.definitions.as_ref().ok_or_else(|| Failure::usage("no configuration"))
    }

    fn named(&mut self, name: &str, key: &str) -> Result<Place, Failure> {
        let label = format!("{name}:");
        let known =
            self.named.iter().find(|(known, _)| known == name).map(|(_, storage)| storage.clone());
        let storage = match known {
            Some(storage) => storage,
            None => {
                let opened = self.definitions()?.open(name);
                let storage =
                    opened.map_err(|error| Failure::at(&format!("{name}:{key}"), &error))?;
                self.named.push((name.to_owned(), storage.clone()));
                storage
            }
        };
        Ok(Place { storage, label, text: key.to_owned(), local: false })
    }

    fn url(&mut self, text: &str, purpose: Purpose) -> Result<Place, Failure> {
        let shown = Location::Url(text.to_owned());
        let failure = |error: Error| Failure::at(&shown, &error);
        // Rejects invalid URLs and URLs with secrets before any part of the URL is used.
        let config = self.registry.config_of_url(text).map_err(failure)?;
        let url = Url::parse(text)
            .map_err(|error| failure(Error::config("not a URL").with_source(error)))?;
        if url.scheme() == "file" {
            let path = url
                .to_file_path()
                .map_err(|()| failure(Error::config("not a path of this machine")))?;
            let (directory, name) = split(&path, url.path().ends_with('/'), purpose);
            let label = Url::from_directory_path(
                std::path::absolute(&directory).unwrap_or(directory.clone()),
            );
            let label = label.map_or_else(|()| shown.to_string(), String::from);
            return self.directory(config, &directory, label, name);
        }
        let (root, name) =
            split_url(url).ok_or_else(|| failure(Error::config("the name is not UTF-8 text")))?;
        let config = self.registry.config_of_url(root.as_str()).map_err(failure)?;
        let storage = self.open(config).map_err(failure)?;
        Ok(Place {
            storage,
            label: location::without_secrets(root).to_string(),
            text: name,
            local: false,
        })
    }

    fn path(&mut self, path: &Path, purpose: Purpose) -> Result<Place, Failure> {
        let text = path.to_string_lossy();
        let (directory, name) = split(path, text.ends_with(std::path::is_separator), purpose);
        let config =
            StorageConfig::new("fs", Options::new()).map_err(|error| Failure::at(&text, &error))?;
        let label = directory.display().to_string();
        let label =
            if label.ends_with(std::path::is_separator) { label } else { format!("{label}/") };
        self.directory(config, &directory, label, name)
    }

    /// Returns a place in the storage that is rooted at a local directory.
    fn directory(
        &mut self,
        mut config: StorageConfig,
        directory: &Path,
        label: String,
        name: String,
    ) -> Result<Place, Failure> {
        let shown = format!("{label}{name}");
        let failure = |error: Error| Failure::at(&shown, &error);
        // The driver would report a symlink as not found, because it is not an object.
        if directory.join(&name).is_symlink() && !name.is_empty() {
            let message = "a symlink, which storages do not follow: name its target";
            return Err(failure(Error::new(ErrorKind::InvalidInput, message)));
        }
        let root = root_of(directory).map_err(failure)?;
        config.options.insert("root", root);
        // The driver must leave no files of its own in a directory that is not a storage.
        if config.options.get("remove_locks").is_none() {
            config.options.insert("remove_locks", true);
        }
        // Files at a local path get the permissions that other programs would give them, unless the
        // query of the URL sets others.
        if ["file_mode", "dir_mode", "respect_umask"]
            .iter()
            .all(|option| config.options.get(option).is_none())
        {
            config.options.insert("respect_umask", true);
        }
        let storage = self.open(config).map_err(failure)?;
        Ok(Place { storage, label, text: name, local: true })
    }

    /// Returns the place of the target of a symlink, given with all links resolved. Keeps only the
    /// last such storage open, because there may be one for every link.
    pub(crate) fn followed(&mut self, path: &Path) -> Result<Place, Failure> {
        let known = self.rooted.len();
        if let Some(last) = self.last_followed.take() {
            self.rooted.push(last);
        }
        let found = self.path(path, Purpose::Existing);
        if self.rooted.len() > known {
            self.last_followed = self.rooted.pop();
            self.rooted.truncate(known);
        }
        found
    }

    fn open(&mut self, config: StorageConfig) -> Result<Storage, Error> {
        if let Some((_, storage)) = self.rooted.iter().find(|(known, _)| *known == config) {
            return Ok(storage.clone());
        }
        let storage = self.registry.open_config(&config)?;
        self.rooted.push((config, storage.clone()));
        Ok(storage)
    }
}

/// Splits a path into the directory to root a storage at and the name in it. The name is empty if
/// the path itself is a directory.
///
/// Directories that do not exist yet become part of the name of a new object. The driver then
/// creates them together with the object, and creates nothing if the object is not written.
fn split(path: &Path, slash_at_end: bool, purpose: Purpose) -> (PathBuf, String) {
    let is_root = match purpose {
        Purpose::Subtree => false,
        Purpose::NewDirectory => true,
        Purpose::Existing | Purpose::NewObject => slash_at_end || path.is_dir(),
    };
    let (mut directory, mut name) = if is_root {
        (path, String::new())
    } else {
        parent_and_name(path)
            .map_or((path, String::new()), |(parent, name)| (parent, name.to_owned()))
    };
    let is_new = matches!(purpose, Purpose::NewObject | Purpose::NewDirectory);
    while !directory.is_dir()
        && let Some((parent, missing)) = parent_and_name(directory)
        // A pattern such as `./*/a.png` matches names of directories, too.
        && (is_new || Pattern::is_pattern(&name) || Pattern::is_pattern(missing))
    {
        name = format!("{missing}/{name}");
        directory = parent;
    }
    (directory.to_owned(), name)
}

/// Returns the parent and the last name of a path, if it has one.
fn parent_and_name(path: &Path) -> Option<(&Path, &str)> {
    let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
    Some((if parent.as_os_str().is_empty() { Path::new(".") } else { parent }, name))
}

/// Splits a URL other than `file:` into its root and the key. All paths have the same root, so one
/// storage can copy between them.
fn split_url(url: Url) -> Option<(Url, String)> {
    if url.cannot_be_a_base() {
        return Some((url, String::new()));
    }
    let path = url.path();
    let text =
        percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8().ok()?.into_owned();
    let mut root = url;
    root.set_path("/");
    Some((root, text))
}

/// Returns the canonical path of a directory. Both ends of a copy then have the same root, and so
/// the same storage.
fn root_of(directory: &Path) -> Result<String, Error> {
    let absent = || Error::new(ErrorKind::NotFound, "no such directory");
    let root = std::fs::canonicalize(directory).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => absent(),
        _ => Error::from(cause),
    })?;
    if !root.is_dir() {
        return Err(absent());
    }
    root.into_os_string()
        .into_string()
        .map_err(|_| Error::config("the directory's name is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> (String, String) {
        let (root, name) = split_url(Url::parse(text).unwrap()).unwrap();
        (root.to_string(), name)
    }

    fn pair(root: &str, name: &str) -> (String, String) {
        (root.to_owned(), name.to_owned())
    }

    #[test]
    fn the_storage_of_a_url_is_rooted_before_its_path() {
        assert_eq!(
            url("s3://bucket/a/b%20c.png?region=x"),
            pair("s3://bucket/?region=x", "a/b c.png")
        );
        assert_eq!(url("s3://bucket/a/"), pair("s3://bucket/", "a/"));
        assert_eq!(url("s3://bucket//a"), pair("s3://bucket/", "/a"));
        assert_eq!(url("s3://bucket"), pair("s3://bucket/", ""));
        assert_eq!(url("memory:"), pair("memory:", ""));
        assert!(split_url(Url::parse("s3://bucket/%ff").unwrap()).is_none());
    }

    #[test]
    fn the_storage_of_a_path_is_rooted_at_its_directory() {
        let split = |path: &str, purpose| {
            let (directory, name) = split(Path::new(path), path.ends_with('/'), purpose);
            (directory.to_str().unwrap().to_owned(), name)
        };
        assert_eq!(split("/nonesuch/a/b.png", Purpose::Existing), pair("/nonesuch/a", "b.png"));
        assert_eq!(split("/nonesuch/a/", Purpose::Existing), pair("/nonesuch/a/", ""));
        assert_eq!(split("./nonesuch", Purpose::NewObject), pair(".", "nonesuch"));
        assert_eq!(split("./nonesuch", Purpose::NewDirectory), pair(".", "nonesuch/"));
        assert_eq!(split("./nonesuch/a/b", Purpose::NewObject), pair(".", "nonesuch/a/b"));
        assert_eq!(split("./nonesuch/a/b/", Purpose::NewObject), pair(".", "nonesuch/a/b/"));
        assert_eq!(split("/nonesuch/a", Purpose::NewDirectory), pair("/", "nonesuch/a/"));
        assert_eq!(split("nonesuch", Purpose::NewObject), pair(".", "nonesuch"));
        for directory in ["/", ".", "..", "./.."] {
            assert_eq!(split(directory, Purpose::Existing), pair(directory, ""));
            assert_eq!(split(directory, Purpose::Subtree), pair(directory, ""));
        }
        for directory in ["/tmp", "/tmp/"] {
            assert_eq!(split(directory, Purpose::Subtree), pair("/", "tmp"));
        }
        assert_eq!(split("./nonesuch/a/", Purpose::Subtree), pair("./nonesuch", "a"));
    }
}
