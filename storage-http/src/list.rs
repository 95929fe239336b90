//! `list`: walks through the directories, and requests each when the walk reaches it.
//!
//! The names of a directory are sorted with a slash after the names of subdirectories, and walked
//! depth first, which yields the byte order of keys. The walk holds in memory the names of one
//! directory for each level.

use futures_util::{StreamExt, stream};
use storage_client::parse_etag;
use storage_core::{
    Entry, EntryStream, Error, ErrorKind, Key, ListOptions, ObjectEntry, Prefix, Result,
    parse_time, roll_up,
};

use crate::multistatus::Member;
use crate::shared::Shared;
use crate::stat::stat;

pub(crate) fn list(http: &Shared, prefix: &Prefix, options: &ListOptions) -> EntryStream {
    let walk = Walk {
        http: http.clone(),
        filter: Filter {
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
    // `unfold` panics if it is polled after its end.
    roll_up(entries.fuse(), prefix, options)
}

/// Upper bound for consecutive directories without a file. Without it, a listing of a server with a
/// cycle of directories would not end.
const MAX_EMPTY_DIRECTORIES: usize = 100_000;

/// The state of a listing.
struct Walk {
    http: Shared,
    filter: Filter,
    /// The remaining names of the directories that the walk is in, the innermost directory last,
    /// the next name last.
    levels: Vec<Vec<Name>>,
    has_begun: bool,
    /// How many directories were requested since the last object.
    empty_directories: usize,
}

/// A member of a directory, with its full name: a key, or a prefix if it ends in a slash.
struct Name {
    text: String,
    member: Member,
}

/// Selects the entries that the caller wants.
struct Filter {
    prefix: String,
    options: ListOptions,
    /// The last common prefix with an object: further objects below it are skipped.
    rolled_up: Option<String>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Result<Entry>>> {
        if !self.has_begun {
            self.has_begun = true;
            // No key outside the directory of the prefix begins with it.
            let directory = self
                .filter
                .prefix
                .rfind('/')
                .map_or("", |at| &self.filter.prefix[..=at])
                .to_owned();
            self.enter(&directory).await?;
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.pop() else {
                self.levels.pop();
                continue;
            };
            if let Some(reason) = name.member.invalid {
                let error = Error::new(ErrorKind::InvalidKey, reason).with_key(name.text);
                return Ok(Some(Err(error.with_listing_continues(true))));
            }
            if name.member.is_directory {
                // Below a name that is not a valid prefix there is no valid key.
                if let Err(error) = Prefix::new(name.text.as_str()) {
                    return Ok(Some(Err(error.with_listing_continues(true))));
                }
                if self.filter.may_contain(&name.text)
                    && let Err(error) = self.enter(&name.text).await
                {
                    return self.unreadable_directory(error, name.text).map(Some);
                }
                continue;
            }
            let key = match Key::new(name.text.as_str()) {
                Ok(key) => key,
                Err(error) => return Ok(Some(Err(error.with_listing_continues(true)))),
            };
            if !self.filter.selects(&name.text) {
                continue;
            }
            if let Some(prefix) = self.filter.common_prefix(&name.text) {
                self.empty_directories = 0;
                return Ok(Some(Prefix::new(prefix).map(Entry::Prefix)));
            }
            match self.entry(key, &name.member).await {
                Ok(Some(entry)) => {
                    self.empty_directories = 0;
                    return Ok(Some(Ok(Entry::Object(entry))));
                }
                Ok(None) => {}
                Err(error) => return error_of_name(error, name.text).map(Err).map(Some),
            }
        }
        Ok(None)
    }

    /// Returns the entry for a directory that cannot be read: an error, or its common prefix where
    /// the listing does not need its content.
    fn unreadable_directory(&mut self, error: Error, directory: String) -> Result<Result<Entry>> {
        let error = error_of_name(error, directory)?;
        match error.key().and_then(|directory| self.filter.common_prefix(directory)) {
            Some(prefix) => {
                self.filter.rolled_up = Some(prefix.clone());
                Ok(Prefix::new(prefix).map(Entry::Prefix))
            }
            None => Ok(Err(error)),
        }
    }

    /// Requests a directory. It may have disappeared since its parent was listed.
    async fn enter(&mut self, directory: &str) -> Result<()> {
        if self.empty_directories == MAX_EMPTY_DIRECTORIES {
            let message = format!(
                "the listing was ended after {MAX_EMPTY_DIRECTORIES} consecutive directories without a \
                 file: the server may have a cycle of directories"
            );
            return Err(Error::new(ErrorKind::Unexpected, message)
                .with_key(directory)
                .with_retryable(true));
        }
        self.empty_directories += 1;
        let members = self.http.webdav.list(&self.http.client, directory).await?;
        let mut names: Vec<_> =
            members.into_iter().flatten().map(|member| Name::new(directory, member)).collect();
        names.sort_by(|a, b| b.text.cmp(&a.text));
        names.dedup_by(|a, b| a.text == b.text);
        self.levels.push(names);
        Ok(())
    }

    /// Returns the entry of a file, or `None` if it has disappeared.
    async fn entry(&self, key: Key, member: &Member) -> Result<Option<ObjectEntry>> {
        if let Some(size) = member.size {
            let mut entry = ObjectEntry::new(key, size);
            entry.etag = member.etag.as_deref().and_then(parse_etag);
            entry.last_modified =
                member.last_modified.as_deref().and_then(|time| parse_time(time.trim()).ok());
            return Ok(Some(entry));
        }
        // The listing contains no sizes.
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

/// Converts the error of one name to an error item after which the listing continues.
///
/// # Errors
/// The error itself if it is retryable: the next names would fail too, and the caller can repeat
/// the listing.
fn error_of_name(error: Error, name: String) -> Result<Error> {
    if error.is_retryable() {
        Err(error)
    } else {
        Ok(error.with_key(name).with_listing_continues(true))
    }
}

impl Name {
    fn new(directory: &str, member: Member) -> Self {
        let slash = if member.is_directory { "/" } else { "" };
        Self { text: format!("{directory}{}{slash}", member.name), member }
    }
}

impl Filter {
    /// Returns whether a directory may contain selected entries.
    fn may_contain(&self, directory: &str) -> bool {
        let matches = directory.starts_with(&self.prefix) || self.prefix.starts_with(directory);
        // All keys below the directory precede `start_after`.
        let is_before_start = self
            .options
            .start_after
            .as_deref()
            .is_some_and(|after| after > directory && !after.starts_with(directory));
        matches && !is_before_start && !self.is_rolled_up(directory)
    }

    /// Returns whether an object is selected. Further objects with the same common prefix are not.
    fn selects(&mut self, key: &str) -> bool {
        if !key.starts_with(&self.prefix) || self.is_rolled_up(key) {
            return false;
        }
        if let Some(prefix) = self.common_prefix(key) {
            self.rolled_up = Some(prefix);
        }
        true
    }

    /// Returns the common prefix of a name, if it has one.
    fn common_prefix(&self, name: &str) -> Option<String> {
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

    fn filter(prefix: &str, delimiter: Option<&str>, start_after: Option<&str>) -> Filter {
        let mut options = ListOptions::default();
        options.delimiter = delimiter.map(str::to_owned);
        options.start_after = start_after.map(str::to_owned);
        Filter { prefix: prefix.to_owned(), options, rolled_up: None }
    }

    #[test]
    fn only_directories_that_may_contain_selected_entries_are_requested() {
        let below = |prefix, after, directory| filter(prefix, None, after).may_contain(directory);
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
    fn one_object_of_a_common_prefix_is_enough() {
        let mut filter = filter("d/", Some("/"), None);
        assert!(filter.selects("d/a"));
        assert!(filter.may_contain("d/b/") && filter.selects("d/b/1"));
        assert!(!filter.selects("d/b/2") && !filter.may_contain("d/b/c/"));
        assert!(filter.selects("d/b0"));
    }
}
