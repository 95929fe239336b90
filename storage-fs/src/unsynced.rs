//! Directories that have been made but are perhaps not on the disk yet.
//!
//! An object is durable only when the way to it is. Whoever saves into a directory that another
//! save has just made cannot rely on that one to sync it in time, so each looks here and syncs what
//! it needs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

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

    /// Creates a directory and notes it, as one step for all threads: a thread that finds the
    /// directory finds the note too.
    pub(crate) fn add<T, E>(
        &self,
        path: &str,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut made = self.lock();
        let created = create()?;
        made.count += 1;
        let number = made.count;
        made.directories.insert(path.to_owned(), number);
        Ok(created)
    }

    /// Removes a directory and its note, as one step for all threads: the note of a directory that
    /// another thread creates in its place stays.
    pub(crate) fn remove(
        &self,
        path: &str,
        remove: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut made = self.lock();
        let removed = remove();
        if matches!(removed, Ok(()) | Err(Errno::NOENT)) {
            made.directories.remove(path);
        }
        removed
    }

    /// Those among a directory and its ancestors, from the innermost out, each with its number.
    pub(crate) fn on_the_way(&self, path: &str) -> Vec<(String, u64)> {
        let made = self.lock();
        if made.directories.is_empty() {
            return Vec::new();
        }
        let ancestors =
            std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(outer, _)| outer));
        let known = ancestors
            .filter_map(|path| made.directories.get(path).map(|number| (path.to_owned(), *number)));
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

    impl Unsynced {
        fn note(&self, path: &str) {
            self.add(path, || Ok::<_, Errno>(())).unwrap();
        }
    }

    #[test]
    fn the_way_to_an_object_names_what_is_not_synced_yet_from_the_innermost_out() {
        let unsynced = Unsynced::default();
        for path in ["a", "a/b/c", "x"] {
            unsynced.note(path);
        }
        let names: Vec<_> =
            unsynced.on_the_way("a/b/c").into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["a/b/c", "a"]);
        assert!(unsynced.on_the_way("").is_empty());
    }

    #[test]
    fn a_directory_that_was_made_again_is_not_settled_by_the_sync_of_the_one_before() {
        let unsynced = Unsynced::default();
        unsynced.note("a");
        let (path, number) = unsynced.on_the_way("a").remove(0);
        unsynced.remove("a", || Ok(())).unwrap();
        unsynced.note("a");
        unsynced.settle(&path, number);
        assert_eq!(unsynced.on_the_way("a").len(), 1);
    }

    #[test]
    fn a_directory_that_could_not_be_removed_is_still_to_be_synced() {
        let unsynced = Unsynced::default();
        unsynced.note("a");
        unsynced.remove("a", || Err(Errno::NOTEMPTY)).unwrap_err();
        assert_eq!(unsynced.on_the_way("a").len(), 1);
    }

    /// Else an object that is saved below it would be acknowledged before its directory is on the
    /// disk.
    #[test]
    fn removing_a_directory_keeps_the_note_of_one_that_is_created_in_its_place() {
        let unsynced = Unsynced::default();
        unsynced.note("a");
        std::thread::scope(|threads| {
            unsynced
                .remove("a", || {
                    let (started, is_started) = std::sync::mpsc::channel();
                    let unsynced = &unsynced;
                    threads.spawn(move || {
                        started.send(()).unwrap();
                        unsynced.note("a");
                    });
                    is_started.recv().unwrap();
                    Ok(())
                })
                .unwrap();
        });
        assert_eq!(unsynced.on_the_way("a").len(), 1);
    }
}
