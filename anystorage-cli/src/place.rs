//! [`Place`]: a location that has been looked up: a storage, and a key or a prefix in it.

use std::fmt;

use anystorage::{Error, Key, Operation, Prefix, Storage};

use crate::exit::Failure;

/// A storage and what is meant in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) storage: Storage,
    /// What stands before a key to name it on the command line: `media:`, `./dir/`, `file:///dir/`.
    pub(crate) label: String,
    /// A key, a prefix, or nothing, as it was typed.
    pub(crate) text: String,
    /// Whether it is the path of a local file or directory, typed as such or as a URL.
    pub(crate) local: bool,
}

impl Place {
    /// The object that is meant.
    pub(crate) fn key(&self) -> Result<Key, Failure> {
        if self.text.is_empty() {
            return Err(Failure::usage(format!("{self}: name an object, as in {}KEY", self.label)));
        }
        Key::new(self.text.as_str()).map_err(|error| self.mistyped(&error))
    }

    /// Whether a directory was typed and not an object: `media:`, `media:a/`, a local directory.
    pub(crate) fn names_directory(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('/')
    }

    /// The beginning of keys that is meant, taken literally.
    pub(crate) fn prefix(&self) -> Result<Prefix, Failure> {
        Prefix::new(self.text.as_str()).map_err(|error| self.mistyped(&error))
    }

    /// The directory that is meant, whether or not it was typed with a slash at its end.
    pub(crate) fn directory(&self) -> Result<Self, Failure> {
        let mut directory = self.clone();
        if !self.text.is_empty() && !self.text.ends_with('/') {
            directory.text.push('/');
        }
        directory.prefix()?;
        Ok(directory)
    }

    /// The place itself; below it, under this name, if it is a directory.
    pub(crate) fn or_below(&self, name: &str) -> Self {
        let mut place = self.clone();
        if self.names_directory() {
            place.text.push_str(name);
        }
        place
    }

    /// Another key of the same storage.
    pub(crate) fn with_text(&self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self.clone() }
    }

    /// The failure of an operation here.
    pub(crate) fn failure(&self, error: &Error) -> Failure {
        Failure::at(self, error)
    }

    /// A key that could name nothing was typed: a mistake in the command line, whatever the
    /// storage.
    fn mistyped(&self, error: &Error) -> Failure {
        Failure::usage(format!("{self}: {} ({})", error.message(), error.kind()))
    }

    /// The failure of an entry of a listing: at its own key, if the error tells one.
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
