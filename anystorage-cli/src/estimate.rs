//! [`Estimate`]: how long a sync still takes, once it is known what remains.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The work for each object, as a number of bytes, so that small objects count too.
const BYTES_PER_OBJECT: u64 = 64 * 1024;

/// The shortest time from whose speed the rest is estimated.
const MIN_ELAPSED: Duration = Duration::from_secs(1);

/// Estimates the rest of a sync. Returns no estimate before [`begin`](Self::begin).
#[derive(Debug, Default)]
pub(crate) struct Estimate(Mutex<Option<Work>>);

/// The work since it was known how much remained.
#[derive(Debug)]
struct Work {
    since: Instant,
    objects: u64,
    bytes: u64,
    done_objects: u64,
    /// The bytes of the objects that are done.
    done_bytes: u64,
    /// Bytes that have passed through this process, also of objects that are under way.
    passed_bytes: u64,
}

impl Estimate {
    /// Notes what remains from now on.
    pub(crate) fn begin(&self, objects: u64, bytes: u64) {
        let since = Instant::now();
        let work = Work { since, objects, bytes, done_objects: 0, done_bytes: 0, passed_bytes: 0 };
        *self.work() = Some(work);
    }

    /// Counts an object of what remained.
    pub(crate) fn count_object(&self, bytes: u64) {
        if let Some(work) = &mut *self.work() {
            work.done_objects += 1;
            work.done_bytes = work.done_bytes.saturating_add(bytes);
        }
    }

    /// Counts bytes that have passed through this process.
    pub(crate) fn count_bytes(&self, bytes: u64) {
        if let Some(work) = &mut *self.work() {
            work.passed_bytes = work.passed_bytes.saturating_add(bytes);
        }
    }

    /// Returns how long the rest takes at the speed so far, if that is known.
    pub(crate) fn left(&self) -> Option<Duration> {
        let work = self.work();
        let work = work.as_ref()?;
        work.left(work.since.elapsed())
    }

    // No code panics while it holds the lock.
    fn work(&self) -> MutexGuard<'_, Option<Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn left(&self, elapsed: Duration) -> Option<Duration> {
        if elapsed < MIN_ELAPSED || self.done_objects >= self.objects {
            return None;
        }
        let weight = |objects: u64, bytes: u64| {
            u128::from(bytes) + u128::from(objects) * u128::from(BYTES_PER_OBJECT)
        };
        let done_bytes = self.done_bytes.max(self.passed_bytes).min(self.bytes);
        let done = weight(self.done_objects, done_bytes);
        let left = weight(self.objects, self.bytes).saturating_sub(done);
        let seconds = elapsed.as_secs_f64() * left as f64 / done as f64;
        // Nothing is done yet, or the number is absurd.
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(objects: u64, bytes: u64) -> Work {
        Work {
            since: Instant::now(),
            objects,
            bytes,
            done_objects: 0,
            done_bytes: 0,
            passed_bytes: 0,
        }
    }

    fn left(work: &Work, elapsed: u64) -> Option<u64> {
        work.left(Duration::from_secs(elapsed)).map(|left| left.as_secs())
    }

    #[test]
    fn nothing_is_estimated_before_it_is_known_what_remains() {
        let estimate = Estimate::default();
        estimate.count_object(5);
        estimate.count_bytes(5);
        assert_eq!(estimate.left(), None);
    }

    #[test]
    fn the_rest_takes_as_long_as_the_same_work_took_so_far() {
        let half = Work { done_objects: 50, done_bytes: 5000, ..work(100, 10_000) };
        assert_eq!(left(&half, 30), Some(30));
        let empty_objects = Work { done_objects: 25, ..work(100, 0) };
        assert_eq!(left(&empty_objects, 10), Some(30));
        let gib = 1 << 30;
        let large = Work { passed_bytes: gib, ..work(1, 5 * gib) };
        assert_eq!(left(&large, 10), Some(40));
    }

    #[test]
    fn there_is_no_estimate_at_first_without_progress_or_after_the_last_object() {
        let some = Work { done_objects: 1, ..work(2, 10) };
        assert_eq!(left(&some, 0), None);
        assert_eq!(left(&work(2, 10), 60), None);
        let all = Work { done_objects: 2, done_bytes: 10, ..work(2, 10) };
        assert_eq!(left(&all, 60), None);
    }

    #[test]
    fn bytes_that_are_sent_again_are_not_more_than_all() {
        let again = Work { done_objects: 1, passed_bytes: 500, ..work(2, 100) };
        assert!(left(&again, 10).is_some_and(|left| left <= 10));
    }
}
