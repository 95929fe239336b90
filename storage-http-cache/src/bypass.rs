//! [`Bypass`]: the keys that a mirror must not be asked for, since what it has of them may be old.
//!
//! A key is bypassed from before a write begins until a purge that was sent after the write has
//! been confirmed; so also where nobody knows whether the write has happened. Where purging is
//! impossible (no token), it is bypassed for a fixed time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::Key;
use tokio::time::Instant;

/// What ends a bypass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The mirror confirms a purge.
    Purged,
    /// This much time has passed since the write.
    Over(Duration),
}

/// The keys of one mirror. At most so many; when there are more, the mirror as a whole is bypassed.
#[derive(Debug)]
pub(crate) struct Bypass {
    until: Until,
    most: usize,
    marks: Mutex<Marks>,
}

#[derive(Debug, Default)]
struct Marks {
    keys: HashMap<Key, Mark>,
    /// For all the keys that there was no room for.
    rest: Mark,
    /// Whether somebody is at work on purging.
    purging: bool,
    /// The number of the last write that may have changed something. Marks come and go, numbers do
    /// not come again.
    writes: u64,
}

/// Why a key is bypassed. One that is not, has none.
#[derive(Debug, Default)]
struct Mark {
    /// Writes under way.
    writers: usize,
    /// The last write that has ended and may have changed something.
    written: u64,
    /// The last write that has been purged.
    purged: u64,
    /// How many have their purge seen to by whoever wrote.
    in_hand: usize,
    /// When the last of them is old enough.
    over: Option<Instant>,
}

/// Where a write was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Under its key.
    Own,
    /// Among those that there was no room for.
    Rest,
}

/// A purge that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// Of one key; of all there are, if unset.
    pub(crate) key: Option<Key>,
    /// The last write that it is good for.
    written: u64,
}

impl Mark {
    fn is_due(&self) -> bool {
        self.purged < self.written
    }

    /// Whether a purge is due that nobody sees to.
    fn is_left(&self) -> bool {
        self.is_due() && self.in_hand == 0
    }

    fn holds(&self, until: Until) -> bool {
        let is_stale = match until {
            Until::Purged => self.is_due(),
            Until::Over(_) => self.over.is_some_and(|over| Instant::now() < over),
        };
        self.writers > 0 || is_stale
    }
}

impl Bypass {
    pub(crate) fn new(until: Until, most: usize) -> Self {
        Self { until, most, marks: Mutex::default() }
    }

    /// Whether the mirror must not be asked for a key.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        let marks = self.lock();
        marks.rest.holds(self.until)
            || marks.keys.get(key).is_some_and(|mark| mark.holds(self.until))
    }

    /// Whether the mirror must not be asked for anything.
    pub(crate) fn covers_all(&self) -> bool {
        self.lock().rest.holds(self.until)
    }

    /// How many keys wait for the confirmation of a purge. The mirror as a whole counts as one
    /// more.
    pub(crate) fn unconfirmed(&self) -> usize {
        let marks = self.lock();
        marks.keys.values().chain([&marks.rest]).filter(|mark| mark.is_due()).count()
    }

    /// A write begins.
    pub(crate) fn begin(&self, key: &Key) -> Slot {
        let marks = &mut *self.lock();
        if marks.keys.len() >= self.most && !marks.keys.contains_key(key) {
            let until = self.until;
            // Else those that are over would be found only one by one, when they are asked for.
            if matches!(until, Until::Over(_)) {
                marks.keys.retain(|_, mark| mark.holds(until));
            }
        }
        let is_full = marks.keys.len() >= self.most;
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

    /// A write has ended, and may have changed something or certainly has not. Answers the purge
    /// that is due, which the caller has to see to until it says [`hand_over`](Self::hand_over).
    pub(crate) fn end(&self, key: &Key, slot: Slot, may_have_changed: bool) -> Option<Due> {
        let marks = &mut *self.lock();
        let mark = match slot {
            Slot::Own => marks.keys.get_mut(key)?,
            Slot::Rest => &mut marks.rest,
        };
        mark.writers = mark.writers.saturating_sub(1);
        let mut due = None;
        if may_have_changed {
            match self.until {
                Until::Over(time) => mark.over = Instant::now().checked_add(time),
                Until::Purged => {
                    marks.writes += 1;
                    mark.written = marks.writes;
                    mark.in_hand += 1;
                    due = Some(Due {
                        key: (slot == Slot::Own).then(|| key.clone()),
                        written: mark.written,
                    });
                }
            }
        }
        self.tidy(marks, key);
        due
    }

    /// What is known to be stale for another reason than a write of this process.
    pub(crate) fn found_stale(&self, key: &Key) {
        let slot = self.begin(key);
        if let Some(due) = self.end(key, slot, true) {
            self.hand_over(&due);
        }
    }

    /// Nobody in particular sees to a purge any longer, whether or not it was confirmed.
    pub(crate) fn hand_over(&self, due: &Due) {
        let marks = &mut *self.lock();
        let mark = match &due.key {
            Some(key) => marks.keys.get_mut(key),
            None => Some(&mut marks.rest),
        };
        if let Some(mark) = mark {
            mark.in_hand = mark.in_hand.saturating_sub(1);
        }
    }

    /// A purge has been confirmed that was sent after it was due.
    pub(crate) fn confirmed(&self, due: &Due) {
        let marks = &mut *self.lock();
        let mark = match &due.key {
            Some(key) => marks.keys.get_mut(key),
            None => Some(&mut marks.rest),
        };
        if let Some(mark) = mark {
            mark.purged = mark.purged.max(due.written);
        }
        if let Some(key) = &due.key {
            self.tidy(marks, key);
        }
    }

    /// Takes on the work of purging that nobody sees to; `false` if there is none, or somebody has
    /// it.
    pub(crate) fn take_on(&self) -> bool {
        let marks = &mut *self.lock();
        let is_left = marks.rest.is_left() || marks.keys.values().any(Mark::is_left);
        is_left && !std::mem::replace(&mut marks.purging, true)
    }

    /// Some of the purges that are due and nobody sees to. If there are none, the work is done, and
    /// whoever has taken it on is rid of it.
    pub(crate) fn due(&self, most: usize) -> Vec<Due> {
        let marks = &mut *self.lock();
        let due_of =
            |key: Option<&Key>, mark: &Mark| Due { key: key.cloned(), written: mark.written };
        let rest = marks.rest.is_left().then(|| due_of(None, &marks.rest));
        let keys = marks
            .keys
            .iter()
            .filter(|(_, mark)| mark.is_left())
            .map(|(key, mark)| due_of(Some(key), mark));
        let due: Vec<_> = rest.into_iter().chain(keys).take(most).collect();
        marks.purging &= !due.is_empty();
        due
    }

    /// Gives the work up, though some may be left.
    pub(crate) fn give_up(&self) {
        self.lock().purging = false;
    }

    fn tidy(&self, marks: &mut Marks, key: &Key) {
        if marks.keys.get(key).is_some_and(|mark| !mark.holds(self.until)) {
            marks.keys.remove(key);
        }
    }

    // Nothing panics while the lock is held, so a poisoned one holds sound marks all the same.
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
        Bypass::new(Until::Purged, 3)
    }

    #[test]
    fn a_key_is_bypassed_from_the_beginning_of_a_write_until_its_purge_is_confirmed() {
        let (bypass, a) = (purged(), key("a"));
        assert!(!bypass.covers(&a));
        let slot = bypass.begin(&a);
        assert!(bypass.covers(&a) && !bypass.covers(&key("b")));
        let due = bypass.end(&a, slot, true).unwrap();
        assert!(bypass.covers(&a));
        assert_eq!(bypass.unconfirmed(), 1);
        bypass.confirmed(&due);
        assert!(!bypass.covers(&a));
        assert_eq!(bypass.unconfirmed(), 0);
    }

    #[test]
    fn a_write_that_changed_nothing_needs_no_purge() {
        let (bypass, a) = (purged(), key("a"));
        let slot = bypass.begin(&a);
        assert_eq!(bypass.end(&a, slot, false), None);
        assert!(!bypass.covers(&a) && !bypass.take_on());
    }

    #[test]
    fn a_purge_is_good_for_the_writes_before_it_alone() {
        let (bypass, a) = (purged(), key("a"));
        let first = bypass.begin(&a);
        let first = bypass.end(&a, first, true).unwrap();
        let second = bypass.begin(&a);
        let second = bypass.end(&a, second, true).unwrap();
        bypass.confirmed(&first);
        assert!(bypass.covers(&a), "the second write has not been purged");
        bypass.confirmed(&second);
        assert!(!bypass.covers(&a));
        bypass.confirmed(&first);
        assert!(!bypass.covers(&a), "a confirmation that comes late changes nothing");
    }

    #[test]
    fn a_purge_that_is_confirmed_late_is_not_good_for_a_write_after_it() {
        let (bypass, a) = (purged(), key("a"));
        let write = || bypass.end(&a, bypass.begin(&a), true).unwrap();
        let (first, second) = (write(), write());
        bypass.confirmed(&second);
        assert!(!bypass.covers(&a));
        let third = write();
        bypass.confirmed(&first);
        assert!(bypass.covers(&a));
        bypass.confirmed(&third);
        assert!(!bypass.covers(&a));
    }

    #[test]
    fn a_purge_during_another_write_does_not_end_the_bypass() {
        let (bypass, a) = (purged(), key("a"));
        let (first, second) = (bypass.begin(&a), bypass.begin(&a));
        let due = bypass.end(&a, first, true).unwrap();
        bypass.confirmed(&due);
        assert!(bypass.covers(&a), "the second write is under way");
        let due = bypass.end(&a, second, true).unwrap();
        bypass.confirmed(&due);
        assert!(!bypass.covers(&a));
    }

    #[test]
    fn with_too_many_keys_the_whole_mirror_is_bypassed_until_all_of_it_is_purged() {
        let bypass = purged();
        for name in ["a", "b", "c"] {
            let slot = bypass.begin(&key(name));
            assert!(bypass.end(&key(name), slot, true).is_some());
        }
        assert!(!bypass.covers(&key("other")));
        let slot = bypass.begin(&key("d"));
        assert_eq!(slot, Slot::Rest);
        assert!(bypass.covers(&key("other")) && bypass.covers_all());
        let due = bypass.end(&key("d"), slot, true).unwrap();
        assert_eq!(due.key, None);
        assert_eq!(bypass.unconfirmed(), 4);
        bypass.confirmed(&due);
        assert!(!bypass.covers(&key("other")) && bypass.covers(&key("a")));
    }

    #[test]
    fn a_write_noted_among_the_rest_ends_there_though_there_is_room_again() {
        let bypass = Bypass::new(Until::Purged, 1);
        let (of_a, of_b) = (bypass.begin(&key("a")), bypass.begin(&key("b")));
        assert_eq!((of_a, of_b), (Slot::Own, Slot::Rest));
        bypass.end(&key("a"), of_a, false);
        let again = bypass.begin(&key("b"));
        assert_eq!(again, Slot::Own);
        bypass.end(&key("b"), of_b, false);
        assert!(bypass.covers(&key("b")), "the second write is under way");
        bypass.end(&key("b"), again, false);
        assert!(!bypass.covers(&key("b")) && !bypass.covers_all());
    }

    #[test]
    fn one_at_a_time_purges_and_nothing_that_is_due_is_left_behind() {
        let bypass = purged();
        assert!(!bypass.take_on(), "there is nothing to do");
        bypass.found_stale(&key("a"));
        assert!(bypass.take_on());
        assert!(!bypass.take_on(), "somebody has it");
        let due = bypass.due(10);
        assert_eq!(due.len(), 1);
        // Due after the others were handed out: the same one gets it.
        bypass.found_stale(&key("b"));
        bypass.confirmed(&due[0]);
        let due = bypass.due(10);
        assert_eq!(due.iter().map(|due| due.key.clone()).collect::<Vec<_>>(), [Some(key("b"))]);
        bypass.confirmed(&due[0]);
        assert!(bypass.due(10).is_empty());
        bypass.found_stale(&key("c"));
        assert!(bypass.take_on(), "whoever had it is done");
        bypass.give_up();
        assert!(bypass.take_on());
    }

    #[test]
    fn what_the_writer_sees_to_is_nobody_elses_until_it_is_handed_over() {
        let (bypass, a) = (purged(), key("a"));
        let slot = bypass.begin(&a);
        let due = bypass.end(&a, slot, true).unwrap();
        assert!(!bypass.take_on());
        bypass.hand_over(&due);
        assert!(bypass.take_on());
        assert_eq!(bypass.due(10), std::slice::from_ref(&due));
        bypass.confirmed(&due);
        assert!(!bypass.covers(&a));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_can_be_purged_a_key_is_bypassed_for_a_time() {
        let bypass = Bypass::new(Until::Over(Duration::from_secs(60)), 2);
        let slot = bypass.begin(&key("a"));
        assert_eq!(bypass.end(&key("a"), slot, true), None);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(bypass.covers(&key("a")) && bypass.unconfirmed() == 0);
        let slot = bypass.begin(&key("b"));
        bypass.end(&key("b"), slot, true);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!bypass.covers(&key("a")) && bypass.covers(&key("b")));
        assert_eq!(bypass.begin(&key("c")), Slot::Own, "what is over makes room");
    }
}
