//! The profiles of the AWS tools: `~/.aws/credentials` and `~/.aws/config`.

mod parse;
#[cfg(test)]
mod parse_tests;
mod settings;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use storage_core::{Error, Result};

use super::environment::Environment;
use parse::{Mistake, Section, Sections, parse};
pub(super) use settings::{Holds, Settings};

/// The most that is read of a file.
const MAX_BYTES: u64 = 1024 * 1024;

/// Both files, as they are at this moment.
pub(super) struct Profiles {
    credentials: Looked,
    config: Looked,
}

/// A file, and what was found in it.
struct Looked {
    /// `None` if there is no home directory that it could be in.
    path: Option<PathBuf>,
    sections: Result<Sections, Unread>,
}

enum Unread {
    Missing,
    Failed(io::Error),
    Wrong(Mistake),
}

/// A profile: its properties in both files. Those of the credentials file go before.
#[derive(Clone, Copy)]
pub(super) struct Profile<'a> {
    pub(super) name: &'a str,
    profiles: &'a Profiles,
    credentials: Option<&'a Section>,
    config: Option<&'a Section>,
}

impl Profiles {
    /// Reads the files. What cannot be read matters only to those who need it.
    pub(super) fn read(env: &Environment) -> Self {
        let place = |variable, name| {
            env.path(variable).or_else(|| Some(env.home()?.join(".aws").join(name)))
        };
        Self {
            credentials: Looked::read(place("AWS_SHARED_CREDENTIALS_FILE", "credentials")),
            config: Looked::read(place("AWS_CONFIG_FILE", "config")),
        }
    }

    /// A profile by its name, from what could be read.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Option<Profile<'a>> {
        let credentials = self.credentials.section(name);
        let prefixed = self.config.section(&format!("profile {name}"));
        // The one section whose name may do without the prefix.
        let config = prefixed.or_else(|| self.config.section(name).filter(|_| name == "default"));
        let found = credentials.is_some() || config.is_some();
        found.then_some(Profile { name, profiles: self, credentials, config })
    }

    /// Refuses files that are there and are not what they should be.
    ///
    /// # Errors
    /// `InvalidConfig` that names file and line.
    pub(super) fn check(&self) -> Result<()> {
        for file in [&self.credentials, &self.config] {
            if let (Err(Unread::Wrong(mistake)), Some(path)) = (&file.sections, &file.path) {
                let Mistake { line, what } = mistake;
                return Err(Error::config(format!("{}, line {line}: {what}", path.display())));
            }
        }
        Ok(())
    }

    /// The error for a profile that somebody named and that is nowhere.
    pub(super) fn missing(&self, name: &str, named_by: &str) -> Error {
        let mut message = format!(
            "{named_by} names the profile {name:?}, which is not there; {}",
            self.looked_at()
        );
        if self.config.section(name).is_some() {
            let _ = write!(
                message,
                "; in the configuration file a section has to be called [profile {name}]"
            );
        }
        Error::config(message)
    }

    /// The files and what is in them, for a message: names alone.
    pub(super) fn looked_at(&self) -> String {
        let told = |file: &Looked, names: Vec<String>| {
            let path = file
                .path
                .as_deref()
                .map_or("no home directory".to_owned(), |path| path.display().to_string());
            match &file.sections {
                Ok(_) if names.is_empty() => format!("{path}: no profiles"),
                Ok(_) => format!("{path}: {}", names.join(", ")),
                Err(Unread::Missing) if file.path.is_none() => path,
                Err(Unread::Missing) => format!("{path}: no such file"),
                Err(Unread::Failed(error)) => format!("{path}: {error}"),
                Err(Unread::Wrong(Mistake { line, what })) => {
                    format!("{path}: line {line}: {what}")
                }
            }
        };
        let of_credentials = self.credentials.names().map(str::to_owned).collect();
        let of_config = self.config.names().filter_map(|name| match name {
            "default" => Some(name.to_owned()),
            _ => name.strip_prefix("profile ").map(str::to_owned),
        });
        format!(
            "looked in {} and {}",
            told(&self.credentials, of_credentials),
            told(&self.config, of_config.collect())
        )
    }

    /// Where the files are that could be read.
    #[cfg(feature = "aws-config")]
    pub(super) fn paths(&self) -> Paths {
        let readable = |file: &Looked| file.path.clone().filter(|_| file.sections.is_ok());
        Paths { credentials: readable(&self.credentials), config: readable(&self.config) }
    }
}

/// The files that can be read.
#[cfg(feature = "aws-config")]
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) credentials: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
}

impl Looked {
    fn read(path: Option<PathBuf>) -> Self {
        let sections = match path.as_deref().map(contents) {
            None => Err(Unread::Missing),
            Some(Ok(text)) => parse(&text).map_err(Unread::Wrong),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(Unread::Missing),
            Some(Err(error)) => Err(Unread::Failed(error)),
        };
        Self { path, sections }
    }

    fn section(&self, name: &str) -> Option<&Section> {
        self.sections.as_ref().ok()?.get(name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().flat_map(|sections| sections.keys().map(String::as_str))
    }
}

fn contents(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other(format!(
            "larger than the {MAX_BYTES} bytes that a profile file may have"
        )));
    }
    Ok(text)
}

impl Profile<'_> {
    /// A property's value. An empty one counts as none.
    pub(super) fn get(&self, property: &str) -> Option<&str> {
        [self.credentials, self.config]
            .into_iter()
            .flatten()
            .filter_map(|section| section.get(property))
            .map(|property| property.value.as_str())
            .find(|value| !value.is_empty())
    }

    /// The file that a property is in.
    pub(super) fn file_of(&self, property: &str) -> String {
        let has = |section: Option<&Section>| {
            section.is_some_and(|section| section.contains_key(property))
        };
        let file =
            if has(self.credentials) { &self.profiles.credentials } else { &self.profiles.config };
        file.path.as_deref().map_or_else(String::new, |path| path.display().to_string())
    }

    /// A setting that is nested below a property of a section of the configuration file: `[services
    /// x]`, `s3 =`, `endpoint_url`.
    fn of_service(&self, services: &str, service: &str, setting: &str) -> Option<&str> {
        let section = self.profiles.config.section(&format!("services {services}"))?;
        section.get(service)?.nested.get(setting).map(String::as_str)
    }
}
