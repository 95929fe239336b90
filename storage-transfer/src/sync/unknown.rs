//! [`UnknownNames`]: the names at and below which a side is unknown, and [`UnknownSides`]: those of
//! both sides.

use std::collections::BTreeSet;

use storage_core::{Error, ErrorKind};

use crate::merge::Side;

/// Upper bound for remembered names. Beyond it everything counts as unknown.
const MAX_NAMES: usize = 100_000;

/// Names at and below which a side is unknown, so that nothing there is deleted or created.
#[derive(Debug, Default)]
pub(crate) struct UnknownNames {
    /// Without a slash at the end.
    names: BTreeSet<String>,
    overflowed: bool,
}

/// Returns whether the error of a name in a listing also concerns keys below the name, as that of a
/// directory that cannot be read. No key is below an invalid name. At S3, `photos/` and `photos//`
/// are objects beside those below `photos`.
pub(crate) fn concerns_keys_below(error: &Error) -> bool {
    error.kind() != ErrorKind::InvalidKey
}

impl UnknownNames {
    /// Adds a name in a listing that has this error.
    pub(crate) fn insert(&mut self, name: &str, error: &Error) {
        if !concerns_keys_below(error) {
            return;
        }
        match self.names.len() < MAX_NAMES {
            true => drop(self.names.insert(name.trim_end_matches('/').to_owned())),
            false => self.overflowed = true,
        }
    }

    /// Returns whether the name, or a directory that contains it, is unknown.
    pub(crate) fn contains(&self, name: &str) -> bool {
        if self.names.is_empty() {
            return false;
        }
        let is_below = |(end, _)| self.names.contains(&name[..end]);
        // An empty name stands for the whole side.
        self.overflowed
            || self.names.contains("")
            || self.names.contains(name)
            || name.match_indices('/').any(is_below)
    }
}

/// The unknown names of both sides. No object there is missing or extra.
#[derive(Debug, Default)]
pub(crate) struct UnknownSides {
    pub(crate) source: UnknownNames,
    pub(crate) target: UnknownNames,
}

impl UnknownSides {
    /// Adds a name in the listing of a side that has this error.
    pub(crate) fn insert(&mut self, side: Side, name: &str, error: &Error) {
        match side {
            Side::Source => self.source.insert(name, error),
            Side::Target => self.target.insert(name, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable() -> Error {
        Error::new(ErrorKind::PermissionDenied, "the directory cannot be read")
    }

    #[test]
    fn no_key_is_below_an_invalid_name() {
        let mut names = UnknownNames::default();
        for name in ["/", "a/", "a//"] {
            names.insert(name, &Error::new(ErrorKind::InvalidKey, "an invalid name"));
        }
        assert!(!names.contains("a/b") && !names.contains("b"));
    }

    #[test]
    fn everything_at_and_below_an_unknown_name_is_unknown() {
        let mut names = UnknownNames::default();
        assert!(!names.contains("a"));
        names.insert("a/b/", &unreadable());
        names.insert("c", &unreadable());
        for name in ["a/b", "a/b/c", "a/b/c/d", "c", "c/d"] {
            assert!(names.contains(name), "{name}");
        }
        for name in ["a", "a/bc", "a/c", "cd"] {
            assert!(!names.contains(name), "{name}");
        }
    }

    #[test]
    fn an_unknown_root_makes_every_name_unknown() {
        let mut names = UnknownNames::default();
        names.insert("", &unreadable());
        assert!(names.contains("a"));
    }

    #[test]
    fn more_unknown_names_than_are_remembered_make_every_name_unknown() {
        let mut names = UnknownNames::default();
        for number in 0..=MAX_NAMES {
            names.insert(&number.to_string(), &unreadable());
        }
        assert!(names.contains("x"));
    }
}
