//! [`Ledger`]: up to which key everything is settled, and the sum of what was settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use storage_core::Error;
use tokio::sync::Notify;

use crate::sync::extras::Extra;
use crate::sync::summary::Counts;

/// How many objects may wait for one that takes long. Then the one moves aside.
const MAX_PENDING: usize = 10_000;
/// How many records a worker holds in memory before it stores them.
pub(crate) const MAX_RECORDS: usize = 10_000;
/// How many unknown names are remembered, so that none of them is counted twice.
pub(crate) const MAX_UNKNOWN: usize = 1000;

/// A key that failed, or at and below which a side is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedKey {
    /// The key, relative to both directories.
    pub key: String,
    /// The error, with its kind.
    pub error: String,
    /// Whether everything at and below the key is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

impl FailedKey {
    pub(crate) fn new(key: &str, error: &Error) -> Self {
        Self { key: key.to_owned(), error: error.to_string(), unknown: false }
    }
}

/// What a settled key adds.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) counts: Counts,
    pub(crate) failed: Option<FailedKey>,
    pub(crate) extra: Option<Extra>,
    /// The name that is unknown, with its side.
    pub(crate) unknown: Option<String>,
}

impl From<Counts> for Entry {
    fn from(counts: Counts) -> Self {
        Self { counts, ..Self::default() }
    }
}

/// What was settled since it was taken last.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    /// All keys up to this one are settled, except those aside.
    pub(crate) watermark: Option<String>,
    /// The keys up to the watermark that are still under way.
    pub(crate) aside: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) failed: Vec<FailedKey>,
    pub(crate) extras: Vec<Extra>,
    /// The names that were counted as unknown, with their sides.
    pub(crate) unknown: Vec<String>,
}

/// Which keys are settled, although objects are handled several at a time.
///
/// Keys are announced in their order. A key that takes long holds the watermark back: a later run
/// compares the keys after it again, which is cheap and safe. If too many keys wait for one, that
/// one moves aside, and a later run handles it by its name.
///
/// The sums contain exactly the keys up to the watermark, so that a run that continues from there
/// counts each key once.
///
/// Failures and extras are bounded: [`room`](Self::room) waits until they are taken.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    filled: Notify,
    taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The objects under way and those after them, in the order of their keys.
    pending: VecDeque<Pending>,
    /// The number of the first pending object.
    first: u64,
    /// The last key that was announced.
    last: Option<String>,
    /// Objects under way that no longer hold the watermark back, by their numbers.
    aside: BTreeMap<u64, String>,
    settled: Settlement,
    /// The names that were counted as unknown, also by earlier runs.
    unknown: BTreeSet<String>,
}

#[derive(Debug)]
struct Pending {
    name: String,
    /// `None` while the object is under way.
    entry: Option<Entry>,
}

impl Ledger {
    /// Continues a run that has counted these names as unknown.
    pub(crate) fn knowing(unknown: &[String]) -> Self {
        let ledger = Self::default();
        ledger.state().unknown.extend(unknown.iter().cloned());
        ledger
    }

    /// Returns what was settled since the last call.
    pub(crate) fn take(&self) -> Settlement {
        let mut state = self.state();
        let aside: Vec<_> = state.aside.values().cloned().collect();
        let watermark = state.settled.watermark.clone();
        let taken = std::mem::take(&mut state.settled);
        state.settled.watermark.clone_from(&watermark);
        drop(state);
        self.taken.notify_one();
        Settlement { watermark, aside, ..taken }
    }

    /// Returns whether a key after this one was announced.
    pub(crate) fn is_past(&self, name: &str) -> bool {
        self.state().last.as_deref().is_some_and(|last| last > name)
    }

    /// Returns whether so many records wait to be taken that no more should come.
    pub(crate) fn is_full(&self) -> bool {
        self.state().settled.records() >= MAX_RECORDS
    }

    /// Waits until the records should be taken. Wakes one caller, now and then without a reason.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until there is room for more records. For one caller.
    pub(crate) async fn room(&self) {
        while self.is_full() {
            self.taken.notified().await;
        }
    }

    /// Notes a name at and below which a side is unknown. Returns `false` if it was counted before,
    /// by this run or by one that it continues.
    pub(crate) fn note_unknown(&self, name: String, mut entry: Entry) -> bool {
        let mut state = self.state();
        if state.unknown.contains(&name) {
            return false;
        }
        if state.unknown.len() < MAX_UNKNOWN {
            state.unknown.insert(name.clone());
            entry.unknown = Some(name);
        }
        drop(state);
        self.note(entry);
        true
    }

    /// Notes a key that is settled at once.
    pub(crate) fn pass(&self, name: &str, entry: Entry) {
        let mut state = self.state();
        state.announce(name);
        if state.pending.is_empty() {
            state.settle(name, entry);
        } else {
            state.push(name, Some(entry));
        }
        self.notify(&state);
    }

    /// Adds to the sums at this place of the order, without a key.
    pub(crate) fn note(&self, entry: Entry) {
        let mut state = self.state();
        match state.pending.back() {
            None => state.settled.add(entry),
            Some(last) => {
                let name = last.name.clone();
                state.push(&name, Some(entry));
            }
        }
        self.notify(&state);
    }

    /// Notes an object that is under way. Returns its number.
    pub(crate) fn begin(&self, name: &str) -> u64 {
        let mut state = self.state();
        state.announce(name);
        state.push(name, None);
        state.first + state.pending.len() as u64 - 1
    }

    /// Notes that the object of this number is settled.
    pub(crate) fn finish(&self, number: u64, entry: Entry) {
        let mut state = self.state();
        if state.aside.remove(&number).is_some() {
            state.settled.add(entry);
            return self.notify(&state);
        }
        let index = number.checked_sub(state.first).and_then(|index| usize::try_from(index).ok());
        if let Some(pending) = index.and_then(|index| state.pending.get_mut(index)) {
            pending.entry = Some(entry);
        }
        state.advance();
        self.notify(&state);
    }

    fn notify(&self, state: &State) {
        if state.settled.records() >= MAX_RECORDS {
            self.filled.notify_one();
        }
    }

    // No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn announce(&mut self, name: &str) {
        match &mut self.last {
            Some(last) => last.replace_range(.., name),
            None => self.last = Some(name.to_owned()),
        }
    }

    fn push(&mut self, name: &str, entry: Option<Entry>) {
        self.pending.push_back(Pending { name: name.to_owned(), entry });
        if self.pending.len() > MAX_PENDING
            && let Some(slow) = self.pending.pop_front()
        {
            self.settled.watermark = Some(slow.name.clone());
            self.aside.insert(self.first, slow.name);
            self.first += 1;
            self.advance();
        }
    }

    /// Settles the keys before the first one that is under way.
    fn advance(&mut self) {
        while self.pending.front().is_some_and(|pending| pending.entry.is_some()) {
            let Some(Pending { name, entry: Some(entry) }) = self.pending.pop_front() else {
                return;
            };
            self.first += 1;
            self.settle(&name, entry);
        }
    }

    fn settle(&mut self, name: &str, entry: Entry) {
        match &mut self.settled.watermark {
            // Uses the memory of the last name again.
            Some(watermark) => watermark.replace_range(.., name),
            None => self.settled.watermark = Some(name.to_owned()),
        }
        self.settled.add(entry);
    }
}

impl Settlement {
    /// Adds what was settled later.
    pub(crate) fn extend(&mut self, later: Self) {
        self.watermark = later.watermark.or(self.watermark.take());
        self.aside = later.aside;
        self.counts += later.counts;
        self.failed.extend(later.failed);
        self.extras.extend(later.extras);
        self.unknown.extend(later.unknown);
    }

    /// Returns the number of failures and extras.
    pub(crate) fn records(&self) -> usize {
        self.failed.len() + self.extras.len()
    }

    fn add(&mut self, entry: Entry) {
        self.counts += entry.counts;
        self.failed.extend(entry.failed);
        self.extras.extend(entry.extra);
        self.unknown.extend(entry.unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Entry {
        Counts { same: 1, ..Counts::default() }.into()
    }

    fn state(ledger: &Ledger) -> (Option<String>, u64) {
        let settled = ledger.take();
        (settled.watermark, settled.counts.same)
    }

    #[test]
    fn an_object_under_way_holds_the_watermark_and_the_sums_back() {
        let ledger = Ledger::default();
        assert_eq!(state(&ledger), (None, 0));
        ledger.pass("a", one());
        let b = ledger.begin("b");
        ledger.pass("c", one());
        let e = ledger.begin("e");
        assert_eq!(state(&ledger), (Some("a".to_owned()), 1));
        ledger.finish(e, one());
        assert_eq!(state(&ledger), (Some("a".to_owned()), 0));
        ledger.finish(b, one());
        assert_eq!(state(&ledger), (Some("e".to_owned()), 3));
        ledger.pass("f", one());
        assert_eq!(state(&ledger), (Some("f".to_owned()), 1));
    }

    #[test]
    fn a_key_that_many_wait_for_moves_aside() {
        let ledger = Ledger::default();
        let slow = ledger.begin("0");
        for number in 0..MAX_PENDING {
            ledger.pass(&format!("1{number:05}"), one());
        }
        let settled = ledger.take();
        assert_eq!(settled.aside, ["0"]);
        assert_eq!(settled.watermark, Some(format!("1{:05}", MAX_PENDING - 1)));
        assert_eq!(settled.counts.same, MAX_PENDING as u64);
        ledger.finish(slow, one());
        let settled = ledger.take();
        assert_eq!((settled.aside.len(), settled.counts.same), (0, 1));
        let next = ledger.begin("2");
        ledger.finish(next, one());
        assert_eq!(state(&ledger), (Some("2".to_owned()), 1));
    }

    #[tokio::test]
    async fn a_full_ledger_has_room_after_its_records_are_taken() {
        let ledger = Ledger::default();
        let error = Error::not_found();
        for number in 0..MAX_RECORDS {
            assert!(!ledger.is_full());
            let failed = Some(FailedKey::new("a", &error));
            ledger.pass(&format!("{number:05}"), Entry { failed, ..Entry::default() });
        }
        ledger.filled().await;
        assert!(ledger.is_full());
        let (settled, ()) = tokio::join!(async { ledger.take() }, ledger.room());
        assert_eq!(settled.failed.len(), MAX_RECORDS);
        assert!(!ledger.is_full());
    }

    #[test]
    fn an_unknown_name_is_counted_once_also_by_a_later_run() {
        let unknown = || Counts { unknown: 1, ..Counts::default() }.into();
        let ledger = Ledger::default();
        assert!(ledger.note_unknown("source d/".to_owned(), unknown()));
        assert!(!ledger.note_unknown("source d/".to_owned(), unknown()));
        assert!(ledger.note_unknown("target d/".to_owned(), unknown()));
        let settled = ledger.take();
        assert_eq!((settled.counts.unknown, settled.unknown.len()), (2, 2));
        let later = Ledger::knowing(&settled.unknown);
        assert!(!later.note_unknown("source d/".to_owned(), unknown()));
        assert_eq!(later.take().counts.unknown, 0);
    }
}
