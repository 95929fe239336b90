//! [`Bypass`]: the keys that must not be read from a mirror, because it may have an old version.
//!
//! A key bypasses the mirror from before a write begins until the mirror has confirmed a purge that
//! was sent after the write, even if the outcome of the write is unknown. Without purges (no
//! token), it bypasses the mirror for a fixed time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::Key;
use tokio::time::Instant;

/// What ends the bypass of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BypassEnd {
    /// The mirror has confirmed a purge.
    PurgeConfirmed,
    /// This time has passed since the write.
    After(Duration),
}

/// The bypassed keys of one mirror, up to a maximum. If there are more, the whole mirror is
/// bypassed.
#[derive(Debug)]
pub(crate) struct Bypass {
    ended_by: BypassEnd,
    max_keys: usize,
    marks: Mutex<Marks>,
}

#[derive(Debug, Default)]
struct Marks {
    keys: HashMap<Key, Mark>,
    /// The mark of all keys beyond the maximum.
    rest: Mark,
    /// Whether a background task sends purges.
    has_purger: bool,
    /// The number of the last write that may have changed something. No number is used twice,
    /// although marks are removed.
    writes: u64,
}

/// The reasons why a key bypasses the mirror. Other keys have no mark.
#[derive(Debug, Default)]
struct Mark {
    /// How many writes are in progress.
    writers: usize,
    /// The number of the last write that has ended and may have changed something.
    written: u64,
    /// The number of the last write whose purge is confirmed.
    purged: u64,
    /// How many writers are sending their purge themselves.
    sending: usize,
    /// When the bypass ends, if it ends after a time.
    ends_at: Option<Instant>,
}

/// The mark that records a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The mark of its key.
    Own,
    /// The mark of all keys beyond the maximum.
    Rest,
}

/// A purge that must be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DuePurge {
    /// The key, or `None` to purge the whole mirror.
    pub(crate) key: Option<Key>,
    /// The number of the last write that it covers.
    written: u64,
}

impl Mark {
    fn is_due(&self) -> bool {
        self.purged < self.written
    }

    /// Returns whether a purge is due that no writer sends.
    fn needs_purger(&self) -> bool {
        self.is_due() && self.sending == 0
    }

    fn applies(&self, ended_by: BypassEnd) -> bool {
        let is_stale = match ended_by {
            BypassEnd::PurgeConfirmed => self.is_due(),
            BypassEnd::After(_) => self.ends_at.is_some_and(|end| Instant::now() < end),
        };
        self.writers > 0 || is_stale
    }
}

impl Bypass {
    pub(crate) fn new(ended_by: BypassEnd, max_keys: usize) -> Self {
        Self { ended_by, max_keys, marks: Mutex::default() }
    }

    /// Returns whether a key must not be read from the mirror.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        let marks = self.lock();
        marks.rest.applies(self.ended_by)
            || marks.keys.get(key).is_some_and(|mark| mark.applies(self.ended_by))
    }

    /// Returns whether no key may be read from the mirror.
    pub(crate) fn covers_all(&self) -> bool {
        self.lock().rest.applies(self.ended_by)
    }

    /// Returns how many keys wait for the confirmation of a purge. A purge of the whole mirror
    /// counts as one.
    pub(crate) fn unconfirmed(&self) -> usize {
        let marks = self.lock();
        marks.keys.values().chain([&marks.rest]).filter(|mark| mark.is_due()).count()
    }

    /// Records the beginning of a write.
    pub(crate) fn begin_write(&self, key: &Key) -> Slot {
        let marks = &mut *self.lock();
        if marks.keys.len() >= self.max_keys && !marks.keys.contains_key(key) {
            let ended_by = self.ended_by;
            // Remove the marks whose time is over, because nothing else removes a mark unless its
            // key is written again.
            if matches!(ended_by, BypassEnd::After(_)) {
                marks.keys.retain(|_, mark| mark.applies(ended_by));
            }
        }
        let is_full = marks.keys.len() >= self.max_keys;
        match marks.keys.entry(key.clone()) {
            Entry::Occupied(mut mark) => mark.get_mut().writers += 1,
            Entry::Vacant(place) if !is_full => place.insert(Mark::default()).writers += 1,
            Entry::Vacant(_) => {
                marks.rest.writers += 1;
                return Slot::Rest;
            }
        }
        Slot::Own
    }

    /// Records the end of a write. Returns the purge that is due, which the caller sends and then
    /// passes to [`release`](Self::release).
    pub(crate) fn end_write(
        &self,
        key: &Key,
        slot: Slot,
        may_have_changed: bool,
    ) -> Option<DuePurge> {
        let marks = &mut *self.lock();
        let mark = match slot {
            Slot::Own => marks.keys.get_mut(key)?,
            Slot::Rest => &mut marks.rest,
        };
        mark.writers = mark.writers.saturating_sub(1);
        let mut due = None;
        if may_have_changed {
            match self.ended_by {
                BypassEnd::After(time) => mark.ends_at = Instant::now().checked_add(time),
                BypassEnd::PurgeConfirmed => {
                    marks.writes += 1;
                    mark.written = marks.writes;
                    mark.sending += 1;
                    due = Some(DuePurge {
                        key: (slot == Slot::Own).then(|| key.clone()),
                        written: mark.written,
                    });
                }
            }
        }
        self.remove_if_unneeded(marks, key);
        due
    }

    /// Records that the mirror has an old version, although this driver has not written the key.
    pub(crate) fn mark_stale(&self, key: &Key) {
        let slot = self.begin_write(key);
        if let Some(due) = self.end_write(key, slot, true) {
            self.release(&due);
        }
    }

    /// Leaves a purge to the background task, unless it is confirmed.
    pub(crate) fn release(&self, due: &DuePurge) {
        let marks = &mut *self.lock();
        let mark = match &due.key {
            Some(key) => marks.keys.get_mut(key),
            None => Some(&mut marks.rest),
        };
        if let Some(mark) = mark {
            mark.sending = mark.sending.saturating_sub(1);
        }
    }

    /// Records the confirmation of a purge that was sent after it became due.
    pub(crate) fn confirm(&self, due: &DuePurge) {
        let marks = &mut *self.lock();
        let mark = match &due.key {
            Some(key) => marks.keys.get_mut(key),
            None => Some(&mut marks.rest),
        };
        if let Some(mark) = mark {
            mark.purged = mark.purged.max(due.written);
        }
        if let Some(key) = &due.key {
            self.remove_if_unneeded(marks, key);
        }
    }

    /// Returns whether the caller must start a background task: purges are due that no writer
    /// sends, and no task runs.
    pub(crate) fn start_purger(&self) -> bool {
        let marks = &mut *self.lock();
        let needs_purger = marks.rest.needs_purger() || marks.keys.values().any(Mark::needs_purger);
        needs_purger && !std::mem::replace(&mut marks.has_purger, true)
    }

    /// Returns whether the background task runs: purges are due that it has not got confirmed.
    pub(crate) fn has_purger(&self) -> bool {
        self.lock().has_purger
    }

    /// Returns at most `max` due purges that no writer sends. If there are none, the background
    /// task ends, and another one may be started.
    pub(crate) fn take_due(&self, max: usize) -> Vec<DuePurge> {
        let marks = &mut *self.lock();
        let due_of =
            |key: Option<&Key>, mark: &Mark| DuePurge { key: key.cloned(), written: mark.written };
        let rest = marks.rest.needs_purger().then(|| due_of(None, &marks.rest));
        let keys = marks
            .keys
            .iter()
            .filter(|(_, mark)| mark.needs_purger())
            .map(|(key, mark)| due_of(Some(key), mark));
        let due: Vec<_> = rest.into_iter().chain(keys).take(max).collect();
        marks.has_purger &= !due.is_empty();
        due
    }

    /// Records that the background task has ended before all purges were confirmed.
    pub(crate) fn stop_purger(&self) {
        self.lock().has_purger = false;
    }

    fn remove_if_unneeded(&self, marks: &mut Marks, key: &Key) {
        if marks.keys.get(key).is_some_and(|mark| !mark.applies(self.ended_by)) {
            marks.keys.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn purged() -> Bypass {
        Bypass::new(BypassEnd::PurgeConfirmed, 3)
    }

    #[test]
    fn a_key_is_bypassed_from_the_beginning_of_a_write_until_its_purge_is_confirmed() {
        let (bypass, a) = (purged(), key("a"));
        assert!(!bypass.covers(&a));
        let slot = bypass.begin_write(&a);
        assert!(bypass.covers(&a) && !bypass.covers(&key("b")));
        let due = bypass.end_write(&a, slot, true).unwrap();
        assert!(bypass.covers(&a));
        assert_eq!(bypass.unconfirmed(), 1);
        bypass.confirm(&due);
        assert!(!bypass.covers(&a));
        assert_eq!(bypass.unconfirmed(), 0);
    }

    #[test]
    fn a_write_that_changed_nothing_needs_no_purge() {
        let (bypass, a) = (purged(), key("a"));
        let slot = bypass.begin_write(&a);
        assert_eq!(bypass.end_write(&a, slot, false), None);
        assert!(!bypass.covers(&a) && !bypass.start_purger());
    }

    #[test]
    fn a_purge_covers_only_the_writes_before_it() {
        let (bypass, a) = (purged(), key("a"));
        let first = bypass.begin_write(&a);
        let first = bypass.end_write(&a, first, true).unwrap();
        let second = bypass.begin_write(&a);
        let second = bypass.end_write(&a, second, true).unwrap();
        bypass.confirm(&first);
        assert!(bypass.covers(&a), "the second write has not been purged");
        bypass.confirm(&second);
        assert!(!bypass.covers(&a));
        bypass.confirm(&first);
        assert!(!bypass.covers(&a), "a late confirmation changes nothing");
    }

    #[test]
    fn a_late_confirmation_does_not_cover_a_later_write() {
        let (bypass, a) = (purged(), key("a"));
        let write = || bypass.end_write(&a, bypass.begin_write(&a), true).unwrap();
        let (first, second) = (write(), write());
        bypass.confirm(&second);
        assert!(!bypass.covers(&a));
        let third = write();
        bypass.confirm(&first);
        assert!(bypass.covers(&a));
        bypass.confirm(&third);
        assert!(!bypass.covers(&a));
    }

    #[test]
    fn a_purge_during_another_write_does_not_end_the_bypass() {
        let (bypass, a) = (purged(), key("a"));
        let (first, second) = (bypass.begin_write(&a), bypass.begin_write(&a));
        let due = bypass.end_write(&a, first, true).unwrap();
        bypass.confirm(&due);
        assert!(bypass.covers(&a), "the second write still runs");
        let due = bypass.end_write(&a, second, true).unwrap();
        bypass.confirm(&due);
        assert!(!bypass.covers(&a));
    }

    #[test]
    fn with_too_many_keys_the_whole_mirror_is_bypassed_until_it_is_purged() {
        let bypass = purged();
        for name in ["a", "b", "c"] {
            let slot = bypass.begin_write(&key(name));
            assert!(bypass.end_write(&key(name), slot, true).is_some());
        }
        assert!(!bypass.covers(&key("other")));
        let slot = bypass.begin_write(&key("d"));
        assert_eq!(slot, Slot::Rest);
        assert!(bypass.covers(&key("other")) && bypass.covers_all());
        let due = bypass.end_write(&key("d"), slot, true).unwrap();
        assert_eq!(due.key, None);
        assert_eq!(bypass.unconfirmed(), 4);
        bypass.confirm(&due);
        assert!(!bypass.covers(&key("other")) && bypass.covers(&key("a")));
    }

    #[test]
    fn a_write_beyond_the_maximum_ends_in_the_mark_where_it_began() {
        let bypass = Bypass::new(BypassEnd::PurgeConfirmed, 1);
        let (of_a, of_b) = (bypass.begin_write(&key("a")), bypass.begin_write(&key("b")));
        assert_eq!((of_a, of_b), (Slot::Own, Slot::Rest));
        bypass.end_write(&key("a"), of_a, false);
        let again = bypass.begin_write(&key("b"));
        assert_eq!(again, Slot::Own);
        bypass.end_write(&key("b"), of_b, false);
        assert!(bypass.covers(&key("b")), "the second write still runs");
        bypass.end_write(&key("b"), again, false);
        assert!(!bypass.covers(&key("b")) && !bypass.covers_all());
    }

    #[test]
    fn one_background_task_at_a_time_sends_all_due_purges() {
        let bypass = purged();
        assert!(!bypass.start_purger(), "no purge is due");
        bypass.mark_stale(&key("a"));
        assert!(bypass.start_purger());
        assert!(!bypass.start_purger(), "a task runs");
        let due = bypass.take_due(10);
        assert_eq!(due.len(), 1);
        // A purge that becomes due later goes to the same task.
        bypass.mark_stale(&key("b"));
        bypass.confirm(&due[0]);
        let due = bypass.take_due(10);
        assert_eq!(due.iter().map(|due| due.key.clone()).collect::<Vec<_>>(), [Some(key("b"))]);
        bypass.confirm(&due[0]);
        assert!(bypass.take_due(10).is_empty());
        bypass.mark_stale(&key("c"));
        assert!(bypass.start_purger(), "the task has ended");
        bypass.stop_purger();
        assert!(bypass.start_purger());
    }

    #[test]
    fn the_background_task_sends_a_purge_only_after_its_writer_released_it() {
        let (bypass, a) = (purged(), key("a"));
        let slot = bypass.begin_write(&a);
        let due = bypass.end_write(&a, slot, true).unwrap();
        assert!(!bypass.start_purger());
        bypass.release(&due);
        assert!(bypass.start_purger());
        assert_eq!(bypass.take_due(10), std::slice::from_ref(&due));
        bypass.confirm(&due);
        assert!(!bypass.covers(&a));
    }

    #[tokio::test(start_paused = true)]
    async fn without_purges_a_key_is_bypassed_for_a_time() {
        let bypass = Bypass::new(BypassEnd::After(Duration::from_secs(60)), 2);
        let slot = bypass.begin_write(&key("a"));
        assert_eq!(bypass.end_write(&key("a"), slot, true), None);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(bypass.covers(&key("a")) && bypass.unconfirmed() == 0);
        let slot = bypass.begin_write(&key("b"));
        bypass.end_write(&key("b"), slot, true);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!bypass.covers(&key("a")) && bypass.covers(&key("b")));
        assert_eq!(bypass.begin_write(&key("c")), Slot::Own, "an expired mark is removed");
    }
}
