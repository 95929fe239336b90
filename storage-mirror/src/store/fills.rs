//! [`Fills`]: who is fetching what, so that a purge wins over a fill that began before it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The fills under way.
#[derive(Debug, Default)]
pub(super) struct Fills {
    by_key: Mutex<Courses>,
}

/// By key and number.
type Courses = BTreeMap<(Arc<str>, u64), Arc<Course>>;

/// What a fill and a purge agree on.
#[derive(Debug, Default)]
pub(super) struct Course {
    purged: AtomicBool,
    /// Held while a fill becomes an entry: a purge then waits and finds the entry, or comes first
    /// and is seen.
    committing: Mutex<()>,
}

impl Course {
    pub(super) fn is_purged(&self) -> bool {
        self.purged.load(Ordering::SeqCst)
    }

    pub(super) fn committing(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn purge(&self) {
        self.purged.store(true, Ordering::SeqCst);
        drop(self.committing());
    }
}

impl Fills {
    fn lock(&self) -> MutexGuard<'_, Courses> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, key: &Arc<str>, id: u64) -> Arc<Course> {
        let course = Arc::new(Course::default());
        self.lock().insert((Arc::clone(key), id), Arc::clone(&course));
        course
    }

    pub(super) fn remove(&self, key: &Arc<str>, id: u64) {
        self.lock().remove(&(Arc::clone(key), id));
    }

    /// Sees to it that no fill of a key that is under way becomes an entry from now on.
    pub(super) fn purge(&self, key: &str) {
        self.purge_from(key, |found| found == key);
    }

    /// The same for all keys that begin with a text.
    pub(super) fn purge_prefix(&self, prefix: &str) {
        self.purge_from(prefix, |found| found.starts_with(prefix));
    }

    fn purge_from(&self, first: &str, matches: impl Fn(&str) -> bool) {
        let start = Bound::Included((Arc::from(first), 0));
        let courses: Vec<_> = {
            let by_key = self.lock();
            let matching =
                by_key.range((start, Bound::Unbounded)).take_while(|((key, _), _)| matches(key));
            matching.map(|(_, course)| Arc::clone(course)).collect()
        };
        courses.iter().for_each(|course| course.purge());
    }
}
