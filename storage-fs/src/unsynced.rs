//! Directories that have been made but are perhaps not on the disk yet.
//!
//! An object is durable only when the way to it is. Whoever saves into a directory that another save has just made cannot
//! rely on that one to sync it in time, so each looks here and syncs what it needs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By path; the number tells a directory from one that was made in its place after it was removed.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    directories: BTreeMap<String, u64>,
    count: u64,
}

impl Unsynced {
    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A directory has been made.
    pub(crate) fn add(&self, path: &str) {
        let mut made = self.lock();
        made.count += 1;
        let number = made.count;
        made.directories.insert(path.to_owned(), number);
    }

    /// A directory has been removed again.
    pub(crate) fn remove(&self, path: &str) {
        self.lock().directories.remove(path);
    }

    /// Those among a directory and its ancestors, from the innermost out, each with its number.
    pub(crate) fn on_the_way(&self, path: &str) -> Vec<(String, u64)> {
        let made = self.lock();
        if made.directories.is_empty() {
            return Vec::new();
        }
        let ancestors = std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(outer, _)| outer));
        let known = ancestors.filter_map(|path| made.directories.get(path).map(|number| (path.to_owned(), *number)));
        known.collect()
    }

    /// What was made under this number is on the disk.
    pub(crate) fn settle(&self, path: &str, number: u64) {
        let mut made = self.lock();
        if made.directories.get(path) == Some(&number) {
            made.directories.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_an_object_names_what_is_not_synced_yet_from_the_innermost_out() {
        let unsynced = Unsynced::default();
        for path in ["a", "a/b/c", "x"] {
            unsynced.add(path);
        }
        let names: Vec<_> = unsynced.on_the_way("a/b/c").into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["a/b/c", "a"]);
        assert!(unsynced.on_the_way("").is_empty());
    }

    #[test]
    fn a_directory_that_was_made_again_is_not_settled_by_the_sync_of_the_one_before() {
        let unsynced = Unsynced::default();
        unsynced.add("a");
        let (path, number) = unsynced.on_the_way("a").remove(0);
        unsynced.remove("a");
        unsynced.add("a");
        unsynced.settle(&path, number);
        assert_eq!(unsynced.on_the_way("a").len(), 1);
    }
}
