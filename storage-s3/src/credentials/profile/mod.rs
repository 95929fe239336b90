//! The profiles of the AWS tools: `~/.aws/credentials` and `~/.aws/config`.
//!
//! `parse.rs` is the file format, `settings.rs` the meaning of the properties.

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
use parse::{ParseError, Section, Sections, parse};
pub(super) use settings::{ProfileContent, Settings};

/// The largest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Both files, as they were when they were read.
pub(super) struct Profiles {
    credentials: ProfileFile,
    config: ProfileFile,
}

/// A file and its sections.
struct ProfileFile {
    /// `None` if there is no home directory.
    path: Option<PathBuf>,
    sections: Result<Sections, FileError>,
}

enum FileError {
    Missing,
    Failed(io::Error),
    Invalid(ParseError),
}

/// A profile: its properties in both files. The credentials file takes precedence.
#[derive(Clone, Copy)]
pub(super) struct Profile<'a> {
    pub(super) name: &'a str,
    profiles: &'a Profiles,
    credentials: Option<&'a Section>,
    config: Option<&'a Section>,
}

impl Profiles {
    /// Reads the files. An unreadable file is an error only for callers that need it.
    pub(super) fn read(env: &Environment) -> Self {
        let place = |variable, name| {
            env.path(variable).or_else(|| Some(env.home()?.join(".aws").join(name)))
        };
        Self {
            credentials: ProfileFile::read(place("AWS_SHARED_CREDENTIALS_FILE", "credentials")),
            config: ProfileFile::read(place("AWS_CONFIG_FILE", "config")),
        }
    }

    /// Returns a profile by its name, from the files that could be read.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Option<Profile<'a>> {
        let credentials = self.credentials.section(name);
        let prefixed = self.config.section(&format!("profile {name}"));
        // Only the section `default` may omit the prefix.
        let config = prefixed.or_else(|| self.config.section(name).filter(|_| name == "default"));
        let found = credentials.is_some() || config.is_some();
        found.then_some(Profile { name, profiles: self, credentials, config })
    }

    /// Refuses files that cannot be parsed.
    ///
    /// # Errors
    /// `InvalidConfig`, which names the file and the line.
    pub(super) fn check(&self) -> Result<()> {
        for file in [&self.credentials, &self.config] {
            if let (Err(FileError::Invalid(error)), Some(path)) = (&file.sections, &file.path) {
                let ParseError { line, what } = error;
                return Err(Error::config(format!("{}, line {line}: {what}", path.display())));
            }
        }
        Ok(())
    }

    /// Returns the error for a profile that was named and does not exist.
    pub(super) fn missing(&self, name: &str, named_by: &str) -> Error {
        let mut message = format!(
            "{named_by} names the profile {name:?}, which does not exist; {}",
            self.summary()
        );
        if self.config.section(name).is_some() {
            let _ =
                write!(message, "; in the configuration file, name the section [profile {name}]");
        }
        Error::config(message)
    }

    /// Lists the files and their profiles for a message, without values.
    pub(super) fn summary(&self) -> String {
        let describe = |file: &ProfileFile, names: Vec<String>| {
            let path = file
                .path
                .as_deref()
                .map_or("no home directory".to_owned(), |path| path.display().to_string());
            match &file.sections {
                Ok(_) if names.is_empty() => format!("{path}: no profiles"),
                Ok(_) => format!("{path}: {}", names.join(", ")),
                Err(FileError::Missing) if file.path.is_none() => path,
                Err(FileError::Missing) => format!("{path}: no such file"),
                Err(FileError::Failed(error)) => format!("{path}: {error}"),
                Err(FileError::Invalid(ParseError { line, what })) => {
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
            describe(&self.credentials, of_credentials),
            describe(&self.config, of_config.collect())
        )
    }

    /// Returns the paths of the files that could be read.
    #[cfg(feature = "aws-config")]
    pub(super) fn paths(&self) -> Paths {
        let readable = |file: &ProfileFile| file.path.clone().filter(|_| file.sections.is_ok());
        Paths { credentials: readable(&self.credentials), config: readable(&self.config) }
    }
}

/// The paths of the files that could be read.
#[cfg(feature = "aws-config")]
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) credentials: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
}

impl ProfileFile {
    fn read(path: Option<PathBuf>) -> Self {
        let sections = match path.as_deref().map(contents) {
            None => Err(FileError::Missing),
            Some(Ok(text)) => parse(&text).map_err(FileError::Invalid),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(FileError::Missing),
            Some(Err(error)) => Err(FileError::Failed(error)),
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
    let read = File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "larger than the {MAX_FILE} bytes that a profile file may have"
        )));
    }
    Ok(text)
}

impl Profile<'_> {
    /// Returns a property's value. An empty one counts as not set.
    pub(super) fn get(&self, property: &str) -> Option<&str> {
        [self.credentials, self.config]
            .into_iter()
            .flatten()
            .filter_map(|section| section.get(property))
            .map(|property| property.value.as_str())
            .find(|value| !value.is_empty())
    }

    /// Returns the file that contains a property.
    pub(super) fn file_of(&self, property: &str) -> String {
        let has = |section: Option<&Section>| {
            section.is_some_and(|section| section.contains_key(property))
        };
        let file =
            if has(self.credentials) { &self.profiles.credentials } else { &self.profiles.config };
        file.path.as_deref().map_or_else(String::new, |path| path.display().to_string())
    }

    /// Returns a setting that is nested in a section of the configuration file: `[services x]`, `s3
    /// =`, `endpoint_url`.
    fn service_setting(&self, services: &str, service: &str, setting: &str) -> Option<&str> {
        let section = self.profiles.config.section(&format!("services {services}"))?;
        section.get(service)?.nested.get(setting).map(String::as_str)
    }
}
