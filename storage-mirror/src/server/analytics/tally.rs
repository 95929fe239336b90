//! [`Tally`]: what a day has come to, in bounded memory.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};
use storage_core::Key;

use super::day::Day;
use crate::server::record::Record;

/// How many keys are looked at with the lock held when all are gone through.
const PAGE: usize = 512;

/// What was counted of a key on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) downloads: u64,
    /// How many of the downloads are requests that began with the first byte, since there were too
    /// many clients to remember.
    pub(crate) downloads_by_request: u64,
    pub(crate) requests: u64,
    pub(crate) hit_requests: u64,
    pub(crate) bytes_hit: u64,
    pub(crate) bytes_miss: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.downloads += other.downloads;
        self.downloads_by_request += other.downloads_by_request;
        self.requests += other.requests;
        self.hit_requests += other.hit_requests;
        self.bytes_hit += other.bytes_hit;
        self.bytes_miss += other.bytes_miss;
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// A key of a day, as it is written down. Without a key: all for whom there was no room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) day: Day,
    pub(crate) key: Option<Key>,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// How much is remembered of a day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Keys; what comes after them is counted together.
    pub(super) keys: usize,
    /// Bytes of keys; the same.
    pub(super) key_bytes: usize,
    /// Pairs of a key and a client who has been counted.
    pub(super) clients: usize,
}

impl Default for Bounds {
    /// Some 250 MB at the very most: for a key 16 bytes, its own, and 48 of counts, for its place
    /// and for a client 20 each, and what a growing list has unused.
    fn default() -> Self {
        Self { keys: 1_000_000, key_bytes: 64 * 1024 * 1024, clients: 1_000_000 }
    }
}

/// A day under way.
#[derive(Debug)]
pub(super) struct Tally {
    day: Day,
    bounds: Bounds,
    /// Keys stay where they are, so that others may go through them page by page while more come.
    rows: Vec<(Key, Counts)>,
    /// Where the row of a key is, by its hash, so that a key is in memory once.
    places: HashMap<u64, u32>,
    key_bytes: usize,
    other: Counts,
    /// Who has been counted for what. Hashes with a salt that is forgotten with the day.
    seen: HashSet<u64>,
    salt: RandomState,
    has_changed: bool,
}

impl Tally {
    pub(super) fn new(day: Day, bounds: Bounds) -> Self {
        Self {
            day,
            bounds,
            rows: Vec::new(),
            places: HashMap::new(),
            key_bytes: 0,
            other: Counts::default(),
            seen: HashSet::new(),
            salt: RandomState::new(),
            has_changed: false,
        }
    }

    pub(super) fn day(&self) -> Day {
        self.day
    }

    /// Whether there is anything that has not been taken by [`take_changed`](Self::take_changed).
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    pub(super) fn set_changed(&mut self) {
        self.has_changed = true;
    }

    /// Counts a request of an object that was sent.
    pub(super) fn count(&mut self, record: &Record) {
        let Some((key, outcome)) = record.sent() else { return };
        let mut counts = Counts { requests: 1, ..Counts::default() };
        if outcome.is_hit() {
            counts.hit_requests = 1;
            counts.bytes_hit = record.bytes;
        } else {
            counts.bytes_miss = record.bytes;
        }
        if record.is_more_than_a_probe() {
            self.recognise(key, record, &mut counts);
        }
        self.add(key, &counts);
        self.has_changed = true;
    }

    fn recognise(&mut self, key: &Key, record: &Record, counts: &mut Counts) {
        let who = self.salt.hash_one((record.client, key));
        if self.seen.len() < self.bounds.clients {
            counts.downloads = u64::from(self.seen.insert(who));
        } else if record.is_from_start && !self.seen.contains(&who) {
            counts.downloads = 1;
            counts.downloads_by_request = 1;
        }
    }

    fn add(&mut self, key: &Key, counts: &Counts) {
        let has_room = self.rows.len() < self.bounds.keys
            && self.key_bytes + key.as_str().len() <= self.bounds.key_bytes;
        match self.places.entry(self.salt.hash_one(key)) {
            Entry::Occupied(place) => match self.rows.get_mut(*place.get() as usize) {
                Some((found, row)) if found == key => row.add(counts),
                // Two keys of one hash, which a day hardly ever has: the second is counted with
                // those for whom there is no room.
                _ => self.other.add(counts),
            },
            Entry::Vacant(place) if has_room => {
                // There are fewer than `bounds.keys`.
                place.insert(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
                self.key_bytes += key.as_str().len();
                self.rows.push((key.clone(), *counts));
            }
            Entry::Vacant(_) => self.other.add(counts),
        }
    }

    /// How many keys it holds.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Puts back what was written down.
    pub(super) fn put_back(&mut self, row: &Row) {
        match &row.key {
            Some(key) => self.add(key, &row.counts),
            None => self.other.add(&row.counts),
        }
    }

    /// Some rows from a place on; none at the end.
    pub(super) fn page(&self, from: usize) -> Vec<Row> {
        let row = |key, counts| Row { day: self.day, key, counts };
        let rows = self.rows.iter().skip(from).take(PAGE);
        let mut page: Vec<_> = rows.map(|(key, counts)| row(Some(key.clone()), *counts)).collect();
        if page.len() < PAGE && from <= self.rows.len() && !self.other.is_zero() {
            page.push(row(None, self.other));
        }
        page
    }

    /// Forgets what is only of use while the day goes on.
    pub(super) fn closed(mut self) -> Self {
        self.seen = HashSet::new();
        self.places = HashMap::new();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::record::Outcome;

    fn tally(bounds: Bounds) -> Tally {
        Tally::new("2025-01-02".parse().unwrap(), bounds)
    }

    fn record(key: &str, client: u64, status: u16, bytes: u64) -> Record {
        let mut record = Record::for_tests(status, bytes);
        record.object = Some((Key::new(key).unwrap(), Outcome::Hit));
        record.client = client;
        record
    }

    fn counts(tally: &Tally, key: Option<&str>) -> Counts {
        let rows = all(tally);
        rows.iter().find(|row| row.key.as_ref().map(Key::as_str) == key).unwrap().counts
    }

    fn all(tally: &Tally) -> Vec<Row> {
        let (mut rows, mut page) = (Vec::new(), tally.page(0));
        while !page.is_empty() {
            rows.append(&mut page);
            page = tally.page(rows.len());
        }
        rows
    }

    #[test]
    fn the_requests_of_one_listening_are_one_download() {
        let mut tally = tally(Bounds::default());
        for (client, status) in [(1, 206), (1, 206), (1, 200), (2, 206)] {
            tally.count(&record("a", client, status, 100));
        }
        tally.count(&record("b", 1, 200, 100));
        assert_eq!(counts(&tally, Some("a")), {
            Counts {
                downloads: 2,
                requests: 4,
                hit_requests: 4,
                bytes_hit: 400,
                ..Counts::default()
            }
        });
        assert_eq!(counts(&tally, Some("b")).downloads, 1);
    }

    #[test]
    fn a_probe_and_what_was_not_sent_are_no_download() {
        let mut tally = tally(Bounds::default());
        tally.count(&record("a", 1, 206, 2));
        let mut given_up = record("a", 2, 200, 0);
        given_up.is_complete = false;
        tally.count(&given_up);
        for status in [304, 404, 416, 502, 302] {
            tally.count(&record("a", 3, status, 100));
        }
        assert_eq!(counts(&tally, Some("a")), {
            Counts { requests: 2, hit_requests: 2, bytes_hit: 2, ..Counts::default() }
        });
        // The probe is followed by listening.
        tally.count(&record("a", 1, 206, 3));
        // All of an object may be less than a probe.
        tally.count(&record("a", 4, 200, 0));
        assert_eq!(counts(&tally, Some("a")).downloads, 2);
    }

    #[test]
    fn with_too_many_clients_a_request_from_the_first_byte_is_a_download() {
        let mut tally = tally(Bounds { keys: 10, clients: 2, ..Bounds::default() });
        for client in 0..4 {
            for status in [200, 206, 206] {
                tally.count(&record("a", client, status, 100));
            }
        }
        let counted = counts(&tally, Some("a"));
        assert_eq!((counted.downloads, counted.downloads_by_request, counted.requests), (4, 2, 12));
        assert_eq!(tally.seen.len(), 2);
    }

    #[test]
    fn keys_that_are_too_long_together_are_counted_together() {
        let mut tally = tally(Bounds { key_bytes: 2 * 1024, ..Bounds::default() });
        for n in 0..10 {
            for _ in 0..2 {
                tally.count(&record(&format!("{n}{}", "x".repeat(1000)), 1, 200, 10));
            }
        }
        assert_eq!((tally.len(), tally.key_bytes), (2, 2002));
        assert_eq!(counts(&tally, None).requests, 16);
        tally.count(&record("short", 1, 200, 10));
        assert_eq!(counts(&tally, Some("short")).requests, 1, "what fits still has a row");
    }

    #[test]
    fn keys_for_whom_there_is_no_room_are_counted_together() {
        let mut tally = tally(Bounds { keys: 2, clients: 100, ..Bounds::default() });
        for key in ["a", "b", "c", "d", "a"] {
            tally.count(&record(key, 1, 200, 10));
        }
        assert_eq!((counts(&tally, Some("a")).requests, counts(&tally, None).requests), (2, 2));
        assert_eq!(all(&tally).len(), 3);
    }

    #[test]
    fn every_row_is_on_one_page() {
        for rows in [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE] {
            for more in [0, 1] {
                let mut tally = tally(Bounds { keys: rows, clients: 1, ..Bounds::default() });
                for number in 0..rows + more {
                    tally.count(&record(&number.to_string(), 1, 200, 1));
                }
                assert_eq!(all(&tally).len(), rows + more, "{rows} rows and {more}");
            }
        }
    }

    #[test]
    fn bytes_are_told_apart_by_where_they_were() {
        let mut tally = tally(Bounds::default());
        for outcome in Outcome::ALL {
            let mut record = record("a", 1, 200, 10);
            record.object = Some((Key::new("a").unwrap(), outcome));
            tally.count(&record);
        }
        let counted = counts(&tally, Some("a"));
        assert_eq!((counted.hit_requests, counted.bytes_hit, counted.bytes_miss), (3, 30, 50));
    }
}
