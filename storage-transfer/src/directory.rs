//! [`Directory`]: one side of a transfer.

use std::fmt;

use storage_core::{Error, ErrorKind, Key, ObjectEntry, Prefix, Result, Storage};

/// A storage, and the directory in it whose objects are transferred.
///
/// The keys of a transfer are relative to its directories: `a.png` below `2026/` of the source
/// becomes `a.png` below the directory of the destination.
///
/// ```
/// use storage_transfer::Directory;
///
/// let storage = storage_core::Memory::storage();
/// let directory = Directory::new(&storage, "2026")?;
/// assert_eq!(directory.key("a.png")?, "2026/a.png");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Directory {
    storage: Storage,
    /// Empty, or ends in a slash.
    prefix: Prefix,
    is_unsorted: bool,
}

impl Directory {
    /// Creates a directory. The slash at the end may be missing. `""` is the whole storage.
    ///
    /// # Errors
    /// `InvalidKey` if no key can begin with this text.
    pub fn new(storage: &Storage, path: &str) -> Result<Self> {
        let text = match path {
            "" => String::new(),
            path if path.ends_with('/') => path.to_owned(),
            path => format!("{path}/"),
        };
        Ok(Self { storage: storage.clone(), prefix: Prefix::new(text)?, is_unsorted: false })
    }

    /// Declares that the driver does not list keys in byte order, as its contract requires. The
    /// listing is then sorted on disk before it is compared. Without this call, a listing that is
    /// not sorted ends the transfer. The drivers of `anystorage` do not need it: that of S3 fails
    /// with `Unsupported` if a service has no order.
    #[must_use]
    pub fn unsorted(mut self) -> Self {
        self.is_unsorted = true;
        self
    }

    pub(crate) fn is_unsorted(&self) -> bool {
        self.is_unsorted
    }

    /// Returns the storage.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Returns the prefix of all keys: empty, or ends in a slash.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Returns the key of the storage that has this name below the directory.
    ///
    /// # Errors
    /// `InvalidKey` if it is not a valid key, or too long.
    pub fn key(&self, name: &str) -> Result<Key> {
        if self.prefix.is_empty() {
            return Key::new(name);
        }
        Key::new(format!("{}{name}", self.prefix.as_str()))
    }

    /// Returns the first object of the directory, as far as it can be listed.
    pub(crate) async fn first_object(&self) -> Result<Option<ObjectEntry>> {
        let mut entries = self.storage.list(self.prefix.as_str()).entries();
        loop {
            match entries.next_object().await {
                Err(error) if error.listing_continues() => {}
                first => return first,
            }
        }
    }

    /// Returns the name below the directory of a key or a raw name of the storage.
    pub(crate) fn name_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(self.prefix.as_str())
    }

    /// Returns the path of a directory below this one, with a slash at the end, if it is certain
    /// that both are directories of one storage. Empty if both are the same.
    pub(crate) fn path_of(&self, other: &Self) -> Option<String> {
        let (outer, inner) =
            match std::sync::Arc::ptr_eq(self.storage.driver(), other.storage.driver()) {
                true => (self.prefix.to_string(), other.prefix.to_string()),
                false => {
                    let (a, b) = (self.storage.info(), other.storage.info());
                    // All memory storages have the same location but different objects.
                    if a.name != b.name || a.name == "memory" {
                        return None;
                    }
                    (self.address(), other.address())
                }
            };
        inner.strip_prefix(&outer).map(str::to_owned)
    }

    fn address(&self) -> String {
        let location = self.storage.info().location.clone();
        format!("{}/{}", location.trim_end_matches('/'), self.prefix.as_str())
    }
}

/// Writes the location of the storage and the prefix, which contain no secrets.
impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.storage.info();
        write!(f, "{}:{}", info.name, self.address())
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({self})")
    }
}

/// Fails with `Conflict` if one directory contains the other, because copies would be listed as
/// sources, or extras deleted from the source. `is_excluded` returns whether the filter excludes a
/// whole directory.
pub(crate) fn refuse_overlap(
    source: &Directory,
    target: &Directory,
    is_excluded: impl Fn(&str) -> bool,
) -> Result<()> {
    let below = source.path_of(target).or_else(|| target.path_of(source));
    match below {
        None => Ok(()),
        Some(path) if !path.is_empty() && is_excluded(&path) => Ok(()),
        Some(path) if path.is_empty() => {
            Err(overlap("source and destination are the same directory"))
        }
        Some(path) => Err(overlap(&format!(
            "one directory contains the other: exclude {path:?}, or choose separate directories"
        ))),
    }
}

/// Fails with `Conflict` if the documents of a job would be objects of a side, or objects of a side
/// documents of the job. `is_excluded` returns whether the filter excludes a whole directory.
pub(crate) fn refuse_state_overlap(
    state: &Directory,
    side: &Directory,
    is_excluded: impl Fn(&str) -> bool,
) -> Result<()> {
    let is_in_side = side.path_of(state).is_some_and(|path| path.is_empty() || !is_excluded(&path));
    if !is_in_side && state.path_of(side).is_none() {
        return Ok(());
    }
    Err(overlap(
        "the directory of the job and one that it transfers contain each other: choose another \
         directory for the job",
    ))
}

fn overlap(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("{message}; nothing was changed"))
}

#[cfg(test)]
mod tests {
    use storage_core::Memory;

    use super::*;

    fn check(source: &str, target: &str, excluded: &str) -> Result<()> {
        let storage = Memory::storage();
        let directory = |path: &str| Directory::new(&storage, path).unwrap();
        refuse_overlap(&directory(source), &directory(target), |path| path == excluded)
    }

    #[test]
    fn a_directory_and_one_that_contains_it_overlap() {
        for (source, target) in [("", ""), ("a", "a/"), ("", "a"), ("a", ""), ("a/b", "a")] {
            let error = check(source, target, "-").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{source} {target}");
        }
    }

    #[test]
    fn directories_whose_names_begin_alike_do_not_overlap() {
        for (source, target) in [("a", "ab"), ("ab", "a"), ("a", "b")] {
            check(source, target, "-").unwrap();
        }
        let (one, other) = (Memory::storage(), Memory::storage());
        let sides = [&one, &other].map(|storage| Directory::new(storage, "").unwrap());
        refuse_overlap(&sides[0], &sides[1], |_| false).unwrap();
    }

    #[test]
    fn the_directory_of_a_job_and_a_side_do_not_contain_each_other() {
        let storage = Memory::storage();
        let check = |state: &str, side: &str, excluded: &str| {
            let [state, side] = [state, side].map(|path| Directory::new(&storage, path).unwrap());
            let checked = refuse_state_overlap(&state, &side, |path| path == excluded);
            checked.err().map(|error| error.kind())
        };
        for (state, side, excluded) in
            [("a", "a", ""), ("a", "", "b/"), ("a", "a/shards", "shards/"), ("", "a", "a/")]
        {
            assert_eq!(check(state, side, excluded), Some(ErrorKind::Conflict), "{state} {side}");
        }
        for (state, side, excluded) in [("a", "ab", ""), ("ab", "a", ""), ("a", "", "a/")] {
            assert_eq!(check(state, side, excluded), None, "{state} {side}");
        }
    }

    #[test]
    fn directories_overlap_no_longer_if_a_filter_excludes_the_inner_one() {
        check("", "backup", "backup/").unwrap();
        check("site/old", "site", "old/").unwrap();
        check("a", "a", "").unwrap_err();
    }
}
