//! [`Scope`]: the objects of an inventory that a directory contains, with their keys in its storage.

use storage_core::{Error, ErrorKind, Key, ObjectEntry, Result};

use crate::directory::Directory;

/// The prefixes of a directory. Without them it is the whole bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// The prefix of the storage in the bucket: empty, or ends in a slash.
    storage: String,
    /// The prefix of the directory in the storage: empty, or ends in a slash.
    directory: String,
}

impl Scope {
    pub(super) fn new(directory: &Directory, bucket: &str) -> Result<Self> {
        let info = directory.storage().info();
        let storage = match &*info.name {
            "s3" => prefix_in(&info.location, bucket).ok_or_else(|| {
                let message = format!(
                    "the inventory contains the objects of the bucket {bucket:?}, and {directory} \
                     is not in it: set the manifest.json of an inventory of this bucket"
                );
                Error::new(ErrorKind::InvalidInput, message)
            })?,
            _ => String::new(),
        };
        Ok(Self { storage, directory: directory.prefix().to_string() })
    }

    /// Returns the item with its key in the storage; `None` if it is not in the directory.
    pub(super) fn item(&self, item: Result<ObjectEntry>) -> Option<Result<ObjectEntry>> {
        match item {
            Ok(entry) => self.entry(entry).transpose(),
            Err(error) if error.listing_continues() => self.error(error).map(Err),
            Err(error) => Some(Err(error)),
        }
    }

    fn name<'a>(&self, key: &'a str) -> Option<&'a str> {
        let name = key.strip_prefix(self.storage.as_str())?;
        name.starts_with(self.directory.as_str()).then_some(name)
    }

    fn entry(&self, mut entry: ObjectEntry) -> Result<Option<ObjectEntry>> {
        let Some(name) = self.name(entry.key.as_str()) else { return Ok(None) };
        if !self.storage.is_empty() {
            let key = Key::new(name).map_err(|error| error.with_listing_continues(true));
            entry.key = key?;
        }
        Ok(Some(entry))
    }

    fn error(&self, error: Error) -> Option<Error> {
        let name = self.name(error.key().unwrap_or_default())?.to_owned();
        if self.storage.is_empty() {
            return Some(error);
        }
        let moved = Error::new(error.kind(), error.message().to_owned());
        Some(moved.with_key(name).with_listing_continues(true))
    }
}

/// Returns the prefix of a storage in a bucket: what its location contains after the name of the
/// bucket, with a slash at the end. Returns `None` if it does not contain the name.
fn prefix_in(location: &str, bucket: &str) -> Option<String> {
    let (scheme, rest) = location.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if scheme == "s3" {
        return (host == bucket).then(|| with_slash(path));
    }
    // In the path of the URL, or else as the first label of its host.
    let mut left = path;
    while !left.is_empty() {
        let (segment, after) = left.split_once('/').unwrap_or((left, ""));
        if segment == bucket {
            return Some(with_slash(after));
        }
        left = after;
    }
    host.strip_prefix(bucket)?.starts_with('.').then(|| with_slash(path))
}

fn with_slash(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_storage_follows_the_name_of_the_bucket_in_its_location() {
        for (location, prefix) in [
            ("s3://media", Some("")),
            ("s3://media/2026/a", Some("2026/a/")),
            ("http://127.0.0.1:9000/media", Some("")),
            ("http://127.0.0.1:9000/media/2026", Some("2026/")),
            ("https://example.com/s3/media/2026", Some("2026/")),
            ("https://media.s3.example.com", Some("")),
            ("https://media.s3.example.com/2026/", Some("2026/")),
            ("s3://other/media", None),
            ("https://mediastore.example.com/other", None),
            ("", None),
        ] {
            assert_eq!(prefix_in(location, "media").as_deref(), prefix, "{location}");
        }
    }

    fn entry(key: &str) -> ObjectEntry {
        ObjectEntry::new(Key::new(key).unwrap(), 1)
    }

    #[test]
    fn entries_and_errors_outside_of_the_directory_are_left_out_and_others_have_their_names() {
        let scope = Scope { storage: "site/".to_owned(), directory: "img/".to_owned() };
        for (key, name) in
            [("site/img/a", Some("img/a")), ("site/a", None), ("img/a", None), ("b", None)]
        {
            let found = scope.item(Ok(entry(key))).map(|item| item.unwrap().key.to_string());
            assert_eq!(found.as_deref(), name, "{key}");
            let error = Error::new(ErrorKind::InvalidKey, "odd").with_key(key);
            let found = scope.item(Err(error.with_listing_continues(true)));
            let found = found.map(|item| item.unwrap_err().key().unwrap_or_default().to_owned());
            assert_eq!(found.as_deref(), name, "{key}");
        }
        let last = scope.item(Err(Error::new(ErrorKind::Integrity, "damaged")));
        assert!(!last.unwrap().unwrap_err().listing_continues());
    }
}
