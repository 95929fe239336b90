//! Dirty directories: those that this driver created and that may not be on the disk yet.
//!
//! An object is durable only if all its ancestor directories are. A save into a directory that
//! another save has just created cannot rely on that other save to sync it in time. So each save
//! looks up which of its ancestors are dirty and syncs them itself. Directories that another driver
//! or process creates are not tracked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The dirty directories of a root.
#[derive(Debug, Default)]
pub(crate) struct DirtyDirs {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The generation of each dirty directory, by path. It distinguishes a directory from one that
    /// was created at the same path after it was removed.
    generations: BTreeMap<String, u64>,
    last_generation: u64,
}

impl DirtyDirs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a directory and marks it dirty, as one step for all threads: a thread that finds the
    /// directory also finds it marked.
    pub(crate) fn create<T, E>(
        &self,
        path: &str,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.lock();
        let created = create()?;
        state.last_generation += 1;
        let generation = state.last_generation;
        state.generations.insert(path.to_owned(), generation);
        Ok(created)
    }

    /// Removes a directory and its mark, as one step for all threads: the mark of a directory that
    /// another thread creates in its place stays. `is_absent` returns whether an error means that
    /// the directory does not exist.
    pub(crate) fn remove<E>(
        &self,
        path: &str,
        is_absent: impl FnOnce(&E) -> bool,
        remove: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.lock();
        let removed = remove();
        if removed.as_ref().err().is_none_or(is_absent) {
            state.generations.remove(path);
        }
        removed
    }

    /// Returns the dirty directories on a path, itself included, from the innermost out, each with
    /// its generation.
    pub(crate) fn on_path(&self, path: &str) -> Vec<(String, u64)> {
        let state = self.lock();
        if state.generations.is_empty() {
            return Vec::new();
        }
        let ancestors =
            std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(outer, _)| outer));
        let dirty =
            ancestors.filter_map(|path| state.generations.get(path).map(|n| (path.to_owned(), *n)));
        dirty.collect()
    }

    /// Removes the mark of a directory that was synced, unless the mark is of another generation.
    pub(crate) fn mark_synced(&self, path: &str, generation: u64) {
        let mut state = self.lock();
        if state.generations.get(path) == Some(&generation) {
            state.generations.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn never(_: &Infallible) -> bool {
        false
    }

    impl DirtyDirs {
        fn mark(&self, path: &str) {
            self.create(path, || Ok::<_, Infallible>(())).unwrap();
        }
    }

    #[test]
    fn dirty_ancestors_are_returned_from_the_innermost_out() {
        let dirs = DirtyDirs::default();
        for path in ["a", "a/b/c", "x"] {
            dirs.mark(path);
        }
        let names: Vec<_> = dirs.on_path("a/b/c").into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["a/b/c", "a"]);
        assert!(dirs.on_path("").is_empty());
    }

    #[test]
    fn syncing_a_removed_directory_does_not_clean_its_successor() {
        let dirs = DirtyDirs::default();
        dirs.mark("a");
        let (path, generation) = dirs.on_path("a").remove(0);
        dirs.remove("a", never, || Ok(())).unwrap();
        dirs.mark("a");
        dirs.mark_synced(&path, generation);
        assert_eq!(dirs.on_path("a").len(), 1);
    }

    #[test]
    fn a_directory_that_could_not_be_removed_stays_dirty() {
        let dirs = DirtyDirs::default();
        dirs.mark("a");
        dirs.remove("a", |_| false, || Err("not empty")).unwrap_err();
        assert_eq!(dirs.on_path("a").len(), 1);
    }

    /// Without the mark, a save below the directory would return before the directory is on the
    /// disk.
    #[test]
    fn removing_a_directory_keeps_the_mark_of_one_that_is_created_in_its_place() {
        let dirs = DirtyDirs::default();
        dirs.mark("a");
        std::thread::scope(|threads| {
            dirs.remove("a", never, || {
                let (started, is_started) = std::sync::mpsc::channel();
                let dirs = &dirs;
                threads.spawn(move || {
                    started.send(()).unwrap();
                    dirs.mark("a");
                });
                is_started.recv().unwrap();
                Ok(())
            })
            .unwrap();
        });
        assert_eq!(dirs.on_path("a").len(), 1);
    }
}
