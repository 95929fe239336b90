//! [`Tally`]: the counts of a day, in bounded memory.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use storage_core::Key;

use super::counts::{Counts, Row};
use super::day::Day;
use super::summary::{DaySummary, DayTotal};
use super::top::{Best, Top};
use crate::server::record::Record;

/// The number of rows on a page. The lock is held for one page at a time.
const PAGE: usize = 512;

/// Bounds the memory of a day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The maximum number of keys. Further keys are counted together.
    pub(super) keys: usize,
    /// The maximum length of all keys, in bytes. Further keys are counted together.
    pub(super) key_bytes: usize,
    /// The maximum number of pairs of a key and a counted client.
    pub(super) clients: usize,
}

impl Default for Bounds {
    /// Returns bounds of about 250 MB. A key takes its length, 16 bytes, 48 bytes of counts and 20
    /// bytes of index. A client takes 20 bytes. Growing lists have unused capacity.
    fn default() -> Self {
        Self { keys: 1_000_000, key_bytes: 64 * 1024 * 1024, clients: 1_000_000 }
    }
}

/// The counts of the current day, or of a past day that is not saved yet.
#[derive(Debug)]
pub(super) struct Tally {
    day: Day,
    bounds: Bounds,
    /// Rows keep their index, so that a reader can go through them page by page while others are
    /// added.
    rows: Vec<(Key, Counts)>,
    /// The index of the row of a key, by the hash of the key, so that a key is in memory once.
    indices: HashMap<u64, u32>,
    key_bytes: usize,
    /// The sum of all keys beyond the bounds.
    other: Counts,
    /// The sum of all keys.
    all: Counts,
    top: Top,
    /// The counted pairs of a client and a key, as hashes with a salt that is dropped with the day.
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
            indices: HashMap::new(),
            key_bytes: 0,
            other: Counts::default(),
            all: Counts::default(),
            top: Top::default(),
            seen: HashSet::new(),
            salt: RandomState::new(),
            has_changed: false,
        }
    }

    pub(super) fn day(&self) -> Day {
        self.day
    }

    /// Returns whether the counts have changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    pub(super) fn set_changed(&mut self) {
        self.has_changed = true;
    }

    /// Counts a request if an object was sent.
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
            self.count_download(key, record, &mut counts);
        }
        self.add(key, &counts);
        self.has_changed = true;
    }

    fn count_download(&mut self, key: &Key, record: &Record, counts: &mut Counts) {
        let pair = self.salt.hash_one((record.client, key));
        if self.seen.len() < self.bounds.clients {
            counts.downloads = u64::from(self.seen.insert(pair));
        } else if record.is_from_start && !self.seen.contains(&pair) {
            counts.downloads = 1;
            counts.downloads_by_request = 1;
        }
    }

    fn add(&mut self, key: &Key, counts: &Counts) {
        self.all.add(counts);
        let index = match self.indices.entry(self.salt.hash_one(key)) {
            Entry::Occupied(index) => *index.get() as usize,
            Entry::Vacant(index) => {
                let has_room = self.rows.len() < self.bounds.keys
                    && self.key_bytes + key.as_str().len() <= self.bounds.key_bytes;
                if !has_room {
                    self.other.add(counts);
                    return;
                }
                // The conversion does not fail: there are fewer than `bounds.keys` rows.
                index.insert(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
                self.key_bytes += key.as_str().len();
                self.rows.push((key.clone(), Counts::default()));
                self.rows.len() - 1
            }
        };
        match self.rows.get_mut(index) {
            Some((found, row)) if found == key => row.add(counts),
            // Two keys have one hash, which is very rare. The second counts as beyond the bounds.
            _ => return self.other.add(counts),
        }
        self.top.update(&self.rows, index);
    }

    /// Returns the number of keys that have a row.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no request was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_zero()
    }

    /// Adds a saved row.
    pub(super) fn restore(&mut self, row: &Row) {
        match &row.key {
            Some(key) => self.add(key, &row.counts),
            None => {
                self.all.add(&row.counts);
                self.other.add(&row.counts);
            }
        }
    }

    /// Returns the sums and the top keys, without a walk over all keys.
    pub(super) fn summary(&self) -> DaySummary {
        let total = DayTotal { keys: self.rows.len() as u64, counts: self.all };
        DaySummary { day: self.day, total, top: self.top.sorted(&self.rows) }
    }

    /// Searches some keys from an index on for a text in lower case, and adds the rows to `best`.
    /// Returns how many keys were searched, and how many contain the text. Both are 0 at the end.
    pub(super) fn search(&self, text: &str, from: usize, best: &mut Best) -> (usize, usize) {
        let (mut searched, mut found, mut lower) = (0, 0, String::new());
        for (key, counts) in self.rows.iter().skip(from).take(PAGE) {
            searched += 1;
            lower.clear();
            lower.push_str(key.as_str());
            lower.make_ascii_lowercase();
            // Finds a text in linear time, so a hostile key does not make the search slow.
            if lower.contains(text) {
                found += 1;
                best.add(key.clone(), *counts);
            }
        }
        (searched, found)
    }

    /// Returns some rows from an index on, and no rows at the end.
    pub(super) fn page(&self, from: usize) -> Vec<Row> {
        let row = |key, counts| Row { day: self.day, key, counts };
        let rows = self.rows.iter().skip(from).take(PAGE);
        let mut page: Vec<_> = rows.map(|(key, counts)| row(Some(key.clone()), *counts)).collect();
        if page.len() < PAGE && from <= self.rows.len() && !self.other.is_zero() {
            page.push(row(None, self.other));
        }
        page
    }

    /// Drops the data that is only needed to count further requests.
    pub(super) fn into_past(mut self) -> Self {
        self.seen = HashSet::new();
        self.indices = HashMap::new();
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
    fn several_requests_of_one_client_for_one_key_are_one_download() {
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
    fn probes_and_unsent_objects_do_not_count_as_downloads() {
        let mut tally = tally(Bounds::default());
        tally.count(&record("a", 1, 206, 2));
        let mut cancelled = record("a", 2, 200, 0);
        cancelled.is_complete = false;
        tally.count(&cancelled);
        for status in [304, 404, 416, 502, 302] {
            tally.count(&record("a", 3, status, 100));
        }
        assert_eq!(counts(&tally, Some("a")), {
            Counts { requests: 2, hit_requests: 2, bytes_hit: 2, ..Counts::default() }
        });
        // The client of the probe downloads the object.
        tally.count(&record("a", 1, 206, 3));
        // A complete object may be shorter than a probe.
        tally.count(&record("a", 4, 200, 0));
        assert_eq!(counts(&tally, Some("a")).downloads, 2);
    }

    #[test]
    fn beyond_the_maximum_of_clients_each_request_from_the_first_byte_is_a_download() {
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
    fn keys_beyond_the_maximum_length_are_counted_together() {
        let mut tally = tally(Bounds { key_bytes: 2 * 1024, ..Bounds::default() });
        for n in 0..10 {
            for _ in 0..2 {
                tally.count(&record(&format!("{n}{}", "x".repeat(1000)), 1, 200, 10));
            }
        }
        assert_eq!((tally.len(), tally.key_bytes), (2, 2002));
        assert_eq!(counts(&tally, None).requests, 16);
        tally.count(&record("short", 1, 200, 10));
        assert_eq!(counts(&tally, Some("short")).requests, 1, "a shorter key that fits has a row");
    }

    #[test]
    fn keys_beyond_the_maximum_number_are_counted_together() {
        let mut tally = tally(Bounds { keys: 2, clients: 100, ..Bounds::default() });
        for key in ["a", "b", "c", "d", "a"] {
            tally.count(&record(key, 1, 200, 10));
        }
        assert_eq!((counts(&tally, Some("a")).requests, counts(&tally, None).requests), (2, 2));
        assert_eq!(all(&tally).len(), 3);
    }

    #[test]
    fn every_row_is_on_exactly_one_page() {
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
    fn bytes_from_the_cache_and_from_origin_are_counted_separately() {
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
