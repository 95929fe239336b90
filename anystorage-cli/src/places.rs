//! [`Places`]: finds the storage of a location, and opens each storage once.

use std::io;
use std::path::{Path, PathBuf};

use anystorage::config::{Options, StorageConfig};
use anystorage::{Definitions, Environment, Error, ErrorKind, Loader, Registry, Storage};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::exit::Failure;
use crate::location::{self, Location};
use crate::place::Place;

/// What a location is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Something that is there.
    Existing,
    /// An object to be written.
    NewObject,
    /// A directory to be written to.
    NewDirectory,
    /// Everything below a directory, and the directory itself: the storage is rooted above it.
    Subtree,
}

/// The storages of this run.
#[derive(Debug)]
pub(crate) struct Places {
    loader: Loader,
    registry: Registry,
    /// Read when the first named storage is asked for: nobody else needs the configuration.
    definitions: Option<Definitions>,
    named: Vec<(String, Storage)>,
    rooted: Vec<(StorageConfig, Storage)>,
    /// The storage of the last symlink that was followed.
    last_followed: Option<(StorageConfig, Storage)>,
}

impl Places {
    /// With a configuration file in place of the one that `STORAGE_CONFIG` names.
    pub(crate) fn new(config: Option<PathBuf>) -> Result<Self, Failure> {
        let named = config.is_some();
        let environment = config.map_or_else(Environment::process, |file| {
            Environment::process().with("STORAGE_CONFIG", file)
        });
        let registry = anystorage::registry();
        let loader = Loader::new().with_registry(registry.clone()).with_environment(environment);
        let mut places = Self {
            loader,
            registry,
            definitions: None,
            named: Vec::new(),
            rooted: Vec::new(),
            last_followed: None,
        };
        // A file that was asked for has to be there, needed or not.
        if named {
            places.definitions()?;
        }
        Ok(places)
    }

    /// Finds what a location means.
    pub(crate) fn find(&mut self, location: &Location, want: Want) -> Result<Place, Failure> {
        match location {
            Location::Standard => Err(Failure::usage(
                "-: standard input or output is no place in a storage: write NAME:KEY, a URL or a path",
            )),
            Location::Named { name, key } => {
                let is_url = !self.definitions()?.contains(name)
                    && self.registry.schemes().any(|known| known == name);
                if is_url {
                    self.url(&format!("{name}:{key}"), want)
                } else {
                    self.named(name, key)
                }
            }
            Location::Url(text) => self.url(text, want),
            Location::Path(path) => self.path(path, want),
        }
    }

    /// The definitions of all storages, which are read when they are first needed.
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

    fn url(&mut self, text: &str, want: Want) -> Result<Place, Failure> {
        let shown = Location::Url(text.to_owned());
        let told = |error: Error| Failure::at(&shown, &error);
        // Refuses what is no URL of a storage, and secrets in it, before anything of it is used.
        let config = self.registry.config_of_url(text).map_err(told)?;
        let url = Url::parse(text)
            .map_err(|error| told(Error::config("not a URL").with_source(error)))?;
        if url.scheme() == "file" {
            let path = url
                .to_file_path()
                .map_err(|()| told(Error::config("not a path of this machine")))?;
            let (directory, name) = split(&path, url.path().ends_with('/'), want);
            let label = Url::from_directory_path(
                std::path::absolute(&directory).unwrap_or(directory.clone()),
            );
            let label = label.map_or_else(|()| shown.to_string(), String::from);
            return self.directory(config, &directory, label, name);
        }
        let (root, name) =
            split_url(url).ok_or_else(|| told(Error::config("the name is not UTF-8 text")))?;
        let config = self.registry.config_of_url(root.as_str()).map_err(told)?;
        let storage = self.open(config).map_err(told)?;
        Ok(Place { storage, label: location::shown(root).to_string(), text: name, local: false })
    }

    fn path(&mut self, path: &Path, want: Want) -> Result<Place, Failure> {
        let text = path.to_string_lossy();
        let (directory, name) = split(path, text.ends_with(std::path::is_separator), want);
        let config =
            StorageConfig::new("fs", Options::new()).map_err(|error| Failure::at(&text, &error))?;
        let label = directory.display().to_string();
        let label =
            if label.ends_with(std::path::is_separator) { label } else { format!("{label}/") };
        self.directory(config, &directory, label, name)
    }

    /// A place in the storage that is rooted at a local directory.
    fn directory(
        &mut self,
        mut config: StorageConfig,
        directory: &Path,
        label: String,
        name: String,
    ) -> Result<Place, Failure> {
        let shown = format!("{label}{name}");
        let told = |error: Error| Failure::at(&shown, &error);
        // Said here, where it is known that a symlink was named; to the driver it is no object, and
        // so not there.
        if directory.join(&name).is_symlink() && !name.is_empty() {
            let message =
                "a symlink, which a storage does not follow: name the file that it leads to";
            return Err(told(Error::new(ErrorKind::InvalidInput, message)));
        }
        let root = root_of(directory).map_err(told)?;
        config.options.insert("root", root);
        // Nothing of the driver is to stay in a directory that is no storage.
        if config.options.get("remove_locks").is_none() {
            config.options.insert("remove_locks", true);
        }
        // The files of a local path are those of its user, with the permissions that other programs
        // give them; unless the query of a URL has others.
        if ["file_mode", "dir_mode", "respect_umask"]
            .iter()
            .all(|option| config.options.get(option).is_none())
        {
            config.options.insert("respect_umask", true);
        }
        let storage = self.open(config).map_err(told)?;
        Ok(Place { storage, label, text: name, local: true })
    }

    /// The place of a file or directory that a symlink leads to, all links resolved. Of its
    /// storages only the last one stays open, since there can be as many as there are links.
    pub(crate) fn followed(&mut self, path: &Path) -> Result<Place, Failure> {
        let known = self.rooted.len();
        if let Some(last) = self.last_followed.take() {
            self.rooted.push(last);
        }
        let found = self.path(path, Want::Existing);
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

/// The directory to root a storage at, and the name in it: nothing, if the path itself is a
/// directory.
///
/// What is to be written may have directories that do not exist yet. They become part of the name,
/// so that the driver makes them with the object, and nothing is made if there is none in the end.
fn split(path: &Path, slash_at_end: bool, want: Want) -> (PathBuf, String) {
    let is_root = match want {
        Want::Subtree => false,
        Want::NewDirectory => true,
        Want::Existing | Want::NewObject => slash_at_end || path.is_dir(),
    };
    let (mut directory, mut name) = if is_root {
        (path, String::new())
    } else {
        last_off(path).map_or((path, String::new()), |(parent, name)| (parent, name.to_owned()))
    };
    while matches!(want, Want::NewObject | Want::NewDirectory)
        && !directory.is_dir()
        && let Some((parent, missing)) = last_off(directory)
    {
        name = format!("{missing}/{name}");
        directory = parent;
    }
    (directory.to_owned(), name)
}

/// A path's parent and its last name, if it has one.
fn last_off(path: &Path) -> Option<(&Path, &str)> {
    let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
    Some((if parent.as_os_str().is_empty() { Path::new(".") } else { parent }, name))
}

/// The same for a URL that is no file's: what stands before its path is the storage, the same one
/// for all paths, so that it copies within itself.
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

/// The directory as the driver gets it: the same text for the same directory, so that both ends of
/// a copy are seen to be one storage.
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
    fn a_url_is_rooted_at_what_stands_before_its_path() {
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
    fn a_path_is_rooted_at_its_directory() {
        let split = |path: &str, want| {
            let (directory, name) = split(Path::new(path), path.ends_with('/'), want);
            (directory.to_str().unwrap().to_owned(), name)
        };
        assert_eq!(split("/nonesuch/a/b.png", Want::Existing), pair("/nonesuch/a", "b.png"));
        assert_eq!(split("/nonesuch/a/", Want::Existing), pair("/nonesuch/a/", ""));
        assert_eq!(split("./nonesuch", Want::NewObject), pair(".", "nonesuch"));
        assert_eq!(split("./nonesuch", Want::NewDirectory), pair(".", "nonesuch/"));
        assert_eq!(split("./nonesuch/a/b", Want::NewObject), pair(".", "nonesuch/a/b"));
        assert_eq!(split("./nonesuch/a/b/", Want::NewObject), pair(".", "nonesuch/a/b/"));
        assert_eq!(split("/nonesuch/a", Want::NewDirectory), pair("/", "nonesuch/a/"));
        assert_eq!(split("nonesuch", Want::NewObject), pair(".", "nonesuch"));
        for directory in ["/", ".", "..", "./.."] {
            assert_eq!(split(directory, Want::Existing), pair(directory, ""));
            assert_eq!(split(directory, Want::Subtree), pair(directory, ""));
        }
        for directory in ["/tmp", "/tmp/"] {
            assert_eq!(split(directory, Want::Subtree), pair("/", "tmp"));
        }
        assert_eq!(split("./nonesuch/a/", Want::Subtree), pair("./nonesuch", "a"));
    }
}
