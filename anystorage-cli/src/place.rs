//! [`Place`]: a location after its storage is found: the storage, and a key or a prefix in it.

use std::fmt;

use anystorage::{Error, Key, Operation, Prefix, Storage};

use crate::exit::Failure;

/// A storage, and a key, a prefix or nothing in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) storage: Storage,
    /// What precedes a key on the command line: `media:`, `./dir/`, `file:///dir/`.
    pub(crate) label: String,
    /// A key, a prefix, or nothing, as typed.
    pub(crate) text: String,
    /// Whether this is a local file or directory, typed as a path or as a URL.
    pub(crate) local: bool,
}

impl Place {
    /// Returns the key of the object.
    pub(crate) fn key(&self) -> Result<Key, Failure> {
        if self.text.is_empty() {
            return Err(Failure::usage(format!("{self}: name an object, as in {}KEY", self.label)));
        }
        Key::new(self.text.as_str()).map_err(|error| self.invalid(&error))
    }

    /// Whether this is a directory and not an object: `media:`, `media:a/`, a local directory.
    pub(crate) fn names_directory(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('/')
    }

    /// Returns the text as a literal prefix of keys.
    pub(crate) fn prefix(&self) -> Result<Prefix, Failure> {
        Prefix::new(self.text.as_str()).map_err(|error| self.invalid(&error))
    }

    /// Returns the directory, whether or not it was typed with a slash at the end.
    pub(crate) fn directory(&self) -> Result<Self, Failure> {
        let mut directory = self.clone();
        if !self.text.is_empty() && !self.text.ends_with('/') {
            directory.text.push('/');
        }
        directory.prefix()?;
        Ok(directory)
    }

    /// Returns the place of this name below a directory, or the place itself if it is an object.
    pub(crate) fn or_below(&self, name: &str) -> Self {
        let mut place = self.clone();
        if self.names_directory() {
            place.text.push_str(name);
        }
        place
    }

    /// Returns another place in the same storage.
    pub(crate) fn with_text(&self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self.clone() }
    }

    /// Returns the failure of an operation at this place.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        Failure::at(self, error)
    }

    /// Returns the failure for text that is not a valid key or prefix. It is a wrong command line
    /// on every storage.
    fn invalid(&self, error: &Error) -> Failure {
        Failure::usage(format!("{self}: {} ({})", error.message(), error.kind()))
    }

    /// Returns the failure of an entry of a listing, at the key of the entry if the error has one.
    pub(crate) fn entry_failure(&self, error: &Error) -> Failure {
        match error.key() {
            Some(key) if error.operation() == Some(Operation::List) => {
                self.with_text(key).failure(error)
            }
            _ => self.failure(error),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.label, self.text)
    }
}
