//! `list`: a walk through the directories, each asked for when the walk gets there.
//!
//! A directory is sorted with a slash at the end of the names of those within, and walked depth
//! first: that is the byte order of keys. What is kept at a time is a directory for each level of
//! the way to the present one.

use futures_util::{StreamExt, stream};
use storage_client::parse_etag;
use storage_core::{
    Entry, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectEntry, Prefix, Result,
    parse_time, roll_up,
};

use crate::shared::Shared;
use crate::stat::stat;
use crate::webdav::Found;

pub(crate) fn list(http: &Shared, prefix: &Prefix, options: &ListOptions) -> EntryStream {
    let walk = Walk {
        http: http.clone(),
        wanted: Wanted {
            prefix: prefix.as_str().to_owned(),
            options: options.clone(),
            rolled_up: None,
        },
        levels: Vec::new(),
        has_begun: false,
        empty_directories: 0,
    };
    let entries = stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        match walk.next().await {
            Ok(Some(entry)) => Some((entry, Some(walk))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    // Unfold panics when it is polled after its end; a stream of ours does not.
    roll_up(entries.fuse(), prefix, options)
}

/// How many directories in a row may hold no file. A server that links directories in circles, or
/// makes them up, would not let a listing end.
const MAX_EMPTY_DIRECTORIES: usize = 100_000;

/// A listing under way.
struct Walk {
    http: Shared,
    wanted: Wanted,
    /// The directories that the walk is in, the innermost last, with what is still to come in each,
    /// the next one last.
    levels: Vec<Vec<Name>>,
    has_begun: bool,
    /// How many directories have been asked for since the last object.
    empty_directories: usize,
}

/// Something in a directory, by its whole name: a key, or the beginning of keys if it ends in a
/// slash.
struct Name {
    text: String,
    found: Found,
}

/// What of all there is the caller wants to see.
struct Wanted {
    prefix: String,
    options: ListOptions,
    /// The common beginning that was last found an object of: one is enough.
    rolled_up: Option<String>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Result<Entry>>> {
        if !self.has_begun {
            self.has_begun = true;
            // Nothing outside the prefix's directory begins with it.
            let directory = self
                .wanted
                .prefix
                .rfind('/')
                .map_or("", |at| &self.wanted.prefix[..=at])
                .to_owned();
            self.enter(&directory).await?;
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.pop() else {
                self.levels.pop();
                continue;
            };
            if let Some(odd) = name.found.odd {
                let error = Error::new(ErrorKind::InvalidKey, odd).with_key(name.text);
                return Ok(Some(Err(error.with_listing_continues(true))));
            }
            if name.found.is_directory {
                // What is no beginning of a key has none below it.
                if let Err(error) = Prefix::new(name.text.as_str()) {
                    return Ok(Some(Err(error.with_listing_continues(true))));
                }
                if self.wanted.has_below(&name.text)
                    && let Err(error) = self.enter(&name.text).await
                {
                    return self.unreadable(error, name.text).map(Some);
                }
                continue;
            }
            let key = match Key::new(name.text.as_str()) {
                Ok(key) => key,
                Err(error) => return Ok(Some(Err(error.with_listing_continues(true)))),
            };
            if !self.wanted.is(&name.text) {
                continue;
            }
            if let Some(prefix) = self.wanted.rolled_up(&name.text) {
                self.empty_directories = 0;
                return Ok(Some(Prefix::new(prefix).map(Entry::Prefix)));
            }
            match self.entry(key, &name.found).await {
                Ok(Some(entry)) => {
                    self.empty_directories = 0;
                    return Ok(Some(Ok(Entry::Object(entry))));
                }
                Ok(None) => {}
                Err(error) => return concerns_one_name(error, name.text).map(Err).map(Some),
            }
        }
        Ok(None)
    }

    /// What becomes of a directory that cannot be read. One level needs no look into it: it may
    /// hold an object.
    fn unreadable(&mut self, error: Error, directory: String) -> Result<Result<Entry>> {
        let error = concerns_one_name(error, directory)?;
        match error.key().and_then(|directory| self.wanted.rolled_up(directory)) {
            Some(prefix) => {
                self.wanted.rolled_up = Some(prefix.clone());
                Ok(Prefix::new(prefix).map(Entry::Prefix))
            }
            None => Ok(Err(error)),
        }
    }

    /// Goes into a directory. It may have gone since it was seen.
    async fn enter(&mut self, directory: &str) -> Result<()> {
        if self.empty_directories == MAX_EMPTY_DIRECTORIES {
            let message = format!(
                "the server listed {MAX_EMPTY_DIRECTORIES} directories in a row without a file: the listing is given up"
            );
            return Err(Error::new(ErrorKind::Unexpected, message)
                .with_key(directory)
                .with_retryable(true));
        }
        self.empty_directories += 1;
        let found = self.http.webdav.list(&self.http.client, directory).await?;
        let mut names: Vec<_> =
            found.into_iter().flatten().map(|found| Name::new(directory, found)).collect();
        names.sort_by(|a, b| b.text.cmp(&a.text));
        names.dedup_by(|a, b| a.text == b.text);
        self.levels.push(names);
        Ok(())
    }

    /// `None` for what has gone meanwhile.
    async fn entry(&self, key: Key, found: &Found) -> Result<Option<ObjectEntry>> {
        if let Some(size) = found.size {
            let mut entry = ObjectEntry::new(key, size);
            entry.etag = found.etag.as_deref().and_then(|etag| parse_etag(etag));
            entry.last_modified =
                found.last_modified.as_deref().and_then(|time| parse_time(time.trim()).ok());
            return Ok(Some(entry));
        }
        // The server lists no sizes.
        match stat(&self.http.client, &key).await {
            Ok(meta) => {
                let mut entry = ObjectEntry::new(key, meta.size);
                (entry.etag, entry.last_modified) = (meta.etag, meta.last_modified);
                Ok(Some(entry))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Turns the refusal of one name into an error after which the listing continues.
///
/// # Errors
/// The error itself if it may pass: the next names would meet it too, and the listing can be taken
/// up again.
fn concerns_one_name(error: Error, name: String) -> Result<Error> {
    if error.is_retryable() {
        Err(error)
    } else {
        Ok(error.with_key(name).with_listing_continues(true))
    }
}

impl Name {
    fn new(directory: &str, found: Found) -> Self {
        let slash = if found.is_directory { "/" } else { "" };
        Self { text: format!("{directory}{}{slash}", found.name), found }
    }
}

impl Wanted {
    /// Whether a directory may hold something that is wanted.
    fn has_below(&self, directory: &str) -> bool {
        let matches = directory.starts_with(&self.prefix) || self.prefix.starts_with(directory);
        // All names below it are before this one.
        let is_behind = self
            .options
            .start_after
            .as_deref()
            .is_some_and(|after| after > directory && !after.starts_with(directory));
        matches && !is_behind && !self.is_rolled_up(directory)
    }

    /// Whether an object is wanted; if so, those that are rolled up with it are not.
    fn is(&mut self, key: &str) -> bool {
        if !key.starts_with(&self.prefix) || self.is_rolled_up(key) {
            return false;
        }
        if let Some(prefix) = self.rolled_up(key) {
            self.rolled_up = Some(prefix);
        }
        true
    }

    /// What a name is rolled up into.
    fn rolled_up(&self, name: &str) -> Option<String> {
        let delimiter = self.options.delimiter.as_deref()?;
        let at = name.strip_prefix(&self.prefix)?.find(delimiter)?;
        Some(name[..self.prefix.len() + at + delimiter.len()].to_owned())
    }

    fn is_rolled_up(&self, name: &str) -> bool {
        self.rolled_up.as_deref().is_some_and(|rolled_up| name.starts_with(rolled_up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(prefix: &str, delimiter: Option<&str>, start_after: Option<&str>) -> Wanted {
        let mut options = ListOptions::default();
        options.delimiter = delimiter.map(str::to_owned);
        options.start_after = start_after.map(str::to_owned);
        Wanted { prefix: prefix.to_owned(), options, rolled_up: None }
    }

    #[test]
    fn only_directories_that_can_hold_something_are_entered() {
        let below = |prefix, after, directory| wanted(prefix, None, after).has_below(directory);
        assert!(below("", None, "a/"));
        assert!(below("a/b", None, "a/") && below("a/b", None, "a/bc/"));
        assert!(!below("a/b", None, "b/") && !below("a/b", None, "a/c/"));
        assert!(
            below("", Some("a/x"), "a/")
                && below("", Some("a"), "a/")
                && below("", Some("a-"), "a/")
        );
        assert!(!below("", Some("a0"), "a/") && !below("", Some("b"), "a/"));
    }

    #[test]
    fn one_object_of_a_common_beginning_is_enough() {
        let mut wanted = wanted("d/", Some("/"), None);
        assert!(wanted.is("d/a"));
        assert!(wanted.has_below("d/b/") && wanted.is("d/b/1"));
        assert!(!wanted.is("d/b/2") && !wanted.has_below("d/b/c/"));
        assert!(wanted.is("d/b0"));
    }
}
