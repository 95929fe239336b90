//! [`Source`]: the objects that a command handles: those of a directory, or those that a pattern
//! matches.

use std::fmt;

use anystorage::{Entry, Error, ErrorKind, Result};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, future};

use crate::exit::Failure;
use crate::pattern::Pattern;
use crate::place::Place;

/// Many objects: those below a directory, or those that a pattern matches.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The directory. That of a pattern contains all matching keys, and the keys of copies are
    /// relative to it.
    pub(crate) directory: Place,
    pub(crate) pattern: Option<Pattern>,
}

impl Source {
    /// Returns the objects of a directory, or, if the text is a pattern and nothing has this name,
    /// those that it matches with everything below the directories that it matches.
    pub(crate) async fn directory_or_pattern(place: &Place) -> Result<Self, Failure> {
        match Self::pattern(place, true).await? {
            Some(source) => Ok(source),
            None => Ok(Self { directory: place.directory()?, pattern: None }),
        }
    }

    /// Returns the objects that the text of a place matches. Returns `None` if the text is not a
    /// pattern, or if it is the name of an object, or with `recursive` of a directory.
    ///
    /// # Errors
    /// A usage error for an invalid pattern, and any failure to look for the object or directory.
    pub(crate) async fn pattern(place: &Place, recursive: bool) -> Result<Option<Self>, Failure> {
        if !Pattern::is_pattern(&place.text) || is_literal(place, recursive).await? {
            return Ok(None);
        }
        if !recursive && place.text.ends_with('/') {
            return Err(Failure::usage(format!(
                "{place}: a pattern of directories: add -r for everything below them"
            )));
        }
        let pattern = Pattern::new(&place.text, recursive).map_err(|reason| {
            Failure::usage(format!(
                "{place}: no such object, and not a valid pattern: {reason}; [[] matches a bracket"
            ))
        })?;
        let directory = place.with_text(pattern.directory());
        directory.prefix()?;
        Ok(Some(Self { directory, pattern: Some(pattern) }))
    }

    /// Returns many objects, or `None` if the place is one object.
    pub(crate) async fn many(place: &Place, recursive: bool) -> Result<Option<Self>, Failure> {
        match recursive {
            true => Self::directory_or_pattern(place).await.map(Some),
            false => Self::pattern(place, false).await,
        }
    }

    /// Lists the places of the objects. Folder markers are left out.
    pub(crate) fn objects(&self) -> Result<BoxStream<'static, Result<Place, Failure>>, Failure> {
        let directory = self.directory.clone();
        let objects = self.entries()?.filter_map(move |entry| {
            future::ready(match entry {
                Ok(Entry::Object(object)) => Some(Ok(directory.with_text(object.key.as_str()))),
                Ok(_) => None,
                Err(error) => Some(Err(directory.entry_failure(&error))),
            })
        });
        Ok(objects.boxed())
    }

    /// Lists the objects, and those folder markers that belong to them.
    ///
    /// An invalid name that does not match is left out. An unreadable directory is an error,
    /// because it may contain matching keys.
    pub(crate) fn entries(&self) -> Result<BoxStream<'static, Result<Entry>>, Failure> {
        let storage = &self.directory.storage;
        let Some(pattern) = self.pattern.clone() else {
            let list = storage.list(self.directory.prefix()?);
            return Ok(list.with_folder_markers().entries().boxed());
        };
        let mut list = storage.list(self.directory.with_text(pattern.prefix()).prefix()?);
        if pattern.is_one_level() {
            list = list.delimiter("/");
        }
        let matching = move |entry: &Result<Entry>| match entry {
            Ok(Entry::Prefix(_)) => false,
            Ok(entry) => pattern.matches(entry.name()),
            Err(error) if error.kind() == ErrorKind::InvalidKey => {
                error.key().is_none_or(|key| pattern.matches(key))
            }
            Err(_) => true,
        };
        let entries = list.with_folder_markers().entries();
        Ok(entries.filter(move |entry| future::ready(matching(entry))).boxed())
    }

    /// Whether a file of a local directory, given by its path below the directory, belongs to this.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let name = || format!("{}{name}", self.directory.text);
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(&name()))
    }

    /// Whether objects of this may be at or below a name of a local directory that ends in a slash
    /// if it is one.
    pub(crate) fn may_contain_at(&self, name: &str) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let (text, prefix) = (format!("{}{name}", self.directory.text), pattern.prefix());
        match name.ends_with('/') {
            true if pattern.is_one_level() => false,
            true => text.starts_with(prefix) || prefix.starts_with(&text),
            false => name.is_empty() || pattern.matches(&text),
        }
    }

    /// Returns the failure for a pattern that matches nothing, or for an empty directory.
    pub(crate) fn no_match(&self) -> Failure {
        let message = match self.pattern {
            Some(_) => "no object matches this pattern",
            None => "nothing is below this directory",
        };
        Failure::at(self, &Error::new(ErrorKind::NotFound, message))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.pattern.as_ref().map_or(self.directory.text.as_str(), Pattern::as_str);
        write!(f, "{}{text}", self.directory.label)
    }
}

/// Whether there is an object of this name, or with `recursive` something below it.
async fn is_literal(place: &Place, recursive: bool) -> Result<bool, Failure> {
    if !recursive {
        // A name that is not a key, such as one that ends in a slash, is not an object.
        let Ok(key) = place.key() else { return Ok(false) };
        return place.storage.exists(key).await.map_err(|error| place.failure(&error));
    }
    let below = place.directory()?;
    match below.storage.list(below.prefix()?).with_folder_markers().entries().next().await {
        None => Ok(false),
        Some(Ok(_)) => Ok(true),
        Some(Err(error)) if error.listing_continues() => Ok(true),
        Some(Err(error)) => Err(place.failure(&error)),
    }
}
