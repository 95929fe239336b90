//! [`UnknownNames`]: the names at and below which a side is unknown.

use std::collections::BTreeSet;

/// Upper bound for remembered names. Beyond it everything counts as unknown.
const MAX_NAMES: usize = 100_000;

/// Names at and below which a side is unknown, so that nothing there is deleted or created.
#[derive(Debug, Default)]
pub(crate) struct UnknownNames {
    /// Without a slash at the end.
    names: BTreeSet<String>,
    overflowed: bool,
}

impl UnknownNames {
    pub(crate) fn insert(&mut self, name: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_at_and_below_an_unknown_name_is_unknown() {
        let mut names = UnknownNames::default();
        assert!(!names.contains("a"));
        names.insert("a/b/");
        names.insert("c");
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
        names.insert("");
        assert!(names.contains("a"));
    }

    #[test]
    fn more_unknown_names_than_are_remembered_make_every_name_unknown() {
        let mut names = UnknownNames::default();
        for number in 0..=MAX_NAMES {
            names.insert(&number.to_string());
        }
        assert!(names.contains("x"));
    }
}
