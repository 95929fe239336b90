//! [`Index`]: the entries, their eviction order, and the accounting of disk space.
//!
//! One lock protects all of it. It is held for a table look-up and a few list links, never for
//! input or output.
//!
//! Invariant: `used + reserved` is at least what the files of the store take on the disk, and at
//! most `max`. Exception: a directory that was filled under a greater limit exceeds `max` until it
//! has been reduced at the start. Bytes move from `reserved` to `used` when a fill becomes an
//! entry. The bytes of a removed entry stay in one of the two until its file is removed.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;

use super::entry::{ByKey, Entry};
use super::limits::Usage;
use super::order::Order;
use super::s3fifo::{S3Fifo, Ticket};

#[derive(Debug)]
pub(super) struct Index {
    max: u64,
    /// The maximum memory of all entries in bytes, by [`Entry::footprint`].
    max_memory: u64,
    entries: HashMap<ByKey, Ticket>,
    /// The same entries sorted by key, for prefixes.
    keys: BTreeSet<ByKey>,
    queue: S3Fifo<Arc<Entry>>,
    used: u64,
    reserved: u64,
    memory: u64,
    evicted_objects: u64,
    evicted_bytes: u64,
    corrupt: u64,
}

/// Disk space that [`Index::make_room`] reserved.
#[derive(Debug)]
pub(super) struct Room {
    /// The bytes reserved for the caller. Once it has removed the files of `evicted`, it releases
    /// all but those that it requested.
    pub(super) reserved: u64,
    /// The entries taken out of the index, whose files are still on the disk.
    pub(super) evicted: Vec<Arc<Entry>>,
}

/// The result of placing an entry.
#[derive(Debug)]
pub(super) enum Placed {
    /// The entry is in the index. The one that it replaced, if any, is out; its bytes stay reserved
    /// until its file is removed.
    New(Option<Arc<Entry>>),
    /// The entry is not in the index, because this one of a later fill is.
    Superseded(Arc<Entry>),
}

impl Index {
    pub(super) fn new(max: u64, max_memory: u64) -> Self {
        Self {
            max,
            max_memory,
            entries: HashMap::new(),
            keys: BTreeSet::new(),
            queue: S3Fifo::new(max),
            used: 0,
            reserved: 0,
            memory: 0,
            evicted_objects: 0,
            evicted_bytes: 0,
            corrupt: 0,
        }
    }

    /// Returns the entry of a key and counts a hit.
    pub(super) fn get(&mut self, key: &str) -> Option<Arc<Entry>> {
        let (ByKey(entry), ticket) = self.entries.get_key_value(key)?;
        self.queue.hit(*ticket);
        entry.count_hit();
        Some(Arc::clone(entry))
    }

    /// Returns the entry of a key without counting a hit.
    pub(super) fn peek(&self, key: &str) -> Option<Arc<Entry>> {
        self.entries.get_key_value(key).map(|(ByKey(entry), _)| Arc::clone(entry))
    }

    /// Reserves bytes for the caller, and evicts entries to free them. Returns `None`, and evicts
    /// nothing, if other reservations leave too little.
    ///
    /// Also evicts entries while the index exceeds its memory limit. Each entry is added after a
    /// call of this function, so their number exceeds the limit at most by the running fills.
    pub(super) fn make_room(&mut self, bytes: u64) -> Option<Room> {
        if self.reserved.saturating_add(bytes) > self.max {
            return None;
        }
        let evicted = self.evict_down_to(self.max - self.reserved - bytes);
        // The space of evicted entries stays reserved until their files are gone. Requested bytes
        // beyond it were free before.
        let freed: u64 = evicted.iter().map(|entry| entry.weight()).sum();
        let reserved = bytes.max(freed);
        self.reserved += reserved;
        Some(Room { reserved, evicted })
    }

    /// Evicts entries until the rest takes at most `used` bytes.
    fn evict_down_to(&mut self, used: u64) -> Vec<Arc<Entry>> {
        let mut evicted = Vec::new();
        while let Some(entry) = self.evict_next(used) {
            self.entries.remove(entry.key());
            self.keys.remove(entry.key());
            self.used -= entry.weight();
            self.memory -= entry.footprint();
            self.evicted_objects += 1;
            self.evicted_bytes += entry.weight();
            evicted.push(entry);
        }
        evicted
    }

    /// Takes the next entry to evict out of the queue. Returns `None` once the rest takes at most
    /// `used` bytes of the disk and is within the memory limit.
    fn evict_next(&mut self, used: u64) -> Option<Arc<Entry>> {
        if self.used > used {
            self.queue.evict()
        } else if self.memory > self.max_memory {
            self.queue.evict_one_of_many()
        } else {
            None
        }
    }

    /// Releases reserved bytes.
    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// Reserves bytes without a request: those of a file that could not be removed.
    pub(super) fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    /// Adds an entry whose bytes are reserved, or replaces the older one of its key.
    pub(super) fn place(&mut self, entry: &Arc<Entry>) -> Placed {
        if let Some((ByKey(old), &ticket)) = self.entries.get_key_value(entry.key()) {
            let old = Arc::clone(old);
            if old.id() > entry.id() {
                return Placed::Superseded(old);
            }
            self.queue.replace(ticket, Arc::clone(entry), entry.weight());
            // The table's key is the entry itself, and `insert` keeps an equal key that is there.
            self.entries.remove(entry.key());
            self.entries.insert(ByKey(Arc::clone(entry)), ticket);
            self.keys.replace(ByKey(Arc::clone(entry)));
            self.reserved = self.reserved - entry.weight() + old.weight();
            self.used = self.used + entry.weight() - old.weight();
            return Placed::New(Some(old));
        }
        self.reserved -= entry.weight();
        self.add(Arc::clone(entry), None);
        Placed::New(None)
    }

    /// Restores the entries of an earlier run, which are sorted by the start of their fills. The
    /// entries in `order` go to the main queue. Without an order all entries do, so that a scan
    /// right after the start does not evict them.
    pub(super) fn restore(&mut self, entries: Vec<Entry>, order: Option<&Order>) {
        let place = |entry: &Entry| order.and_then(|order| order.get(&entry.id())).copied();
        let (mut proven, new): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| order.is_none() || place(entry).is_some());
        proven.sort_by_key(|entry| place(entry).map(|(at, _)| at));
        for entry in proven {
            let hits = place(&entry).map_or(0, |(_, hits)| hits);
            self.add(Arc::new(entry), Some(hits));
        }
        new.into_iter().for_each(|entry| self.add(Arc::new(entry), None));
    }

    /// Adds an entry of a new key: to the main queue if `hits` is given, and to the small queue
    /// otherwise.
    fn add(&mut self, entry: Arc<Entry>, hits: Option<u8>) {
        let (name, weight) = (self.entries.hasher().hash_one(entry.key()), entry.weight());
        self.memory += entry.footprint();
        let ticket = match hits {
            Some(hits) => self.queue.insert_proven(Arc::clone(&entry), name, weight, hits),
            None => self.queue.insert(Arc::clone(&entry), name, weight),
        };
        self.used += weight;
        self.keys.insert(ByKey(Arc::clone(&entry)));
        self.entries.insert(ByKey(entry), ticket);
    }

    /// Takes out an entry whose file is removed, unless another version replaced it. Returns
    /// whether it was in the index.
    pub(super) fn remove(&mut self, entry: &Entry) -> bool {
        if self
            .entries
            .get_key_value(entry.key())
            .is_none_or(|(ByKey(found), _)| found.id() != entry.id())
        {
            return false;
        }
        if let Some(ticket) = self.entries.remove(entry.key()) {
            self.keys.remove(entry.key());
            self.queue.remove(ticket);
            self.used -= entry.weight();
            self.memory -= entry.footprint();
        }
        true
    }

    /// Like [`remove`](Self::remove), and counts the entry as corrupt.
    pub(super) fn remove_corrupt(&mut self, entry: &Entry) -> bool {
        let was_there = self.remove(entry);
        self.corrupt += u64::from(was_there);
        was_there
    }

    /// Returns the next `most` entries whose keys begin with `prefix`, sorted by key.
    pub(super) fn page(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<Arc<Entry>> {
        let start = match after {
            Some(key) => Bound::Excluded(key),
            None => Bound::Included(prefix),
        };
        let following =
            self.keys.range::<str, _>((start, Bound::Unbounded)).map(|ByKey(entry)| entry);
        following
            .take_while(|entry| entry.key().starts_with(prefix))
            .take(most)
            .map(Arc::clone)
            .collect()
    }

    /// Returns the ids of the entries in the main queue with their hits, oldest first.
    pub(super) fn proven(&self) -> Vec<(u64, u8)> {
        self.queue.proven().map(|(entry, hits)| (entry.id(), hits)).collect()
    }

    /// Returns the figures that the index keeps.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            bytes: self.used,
            objects: self.entries.len() as u64,
            reserved: self.reserved,
            index: self.memory,
            evicted_objects: self.evicted_objects,
            evicted_bytes: self.evicted_bytes,
            corrupt: self.corrupt,
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Layout, PAGE};
    use super::*;

    const SIZE: u64 = PAGE as u64;

    /// Returns an entry that takes three pages.
    fn entry(id: u64) -> Arc<Entry> {
        Arc::new(Entry::new(format!("{id}"), id, Layout::new(PAGE, SIZE).unwrap()))
    }

    fn with_entries(ids: std::ops::Range<u64>, max: u64) -> Index {
        let mut index = Index::new(max, u64::MAX);
        for entry in ids.map(entry) {
            let room = index.make_room(entry.weight()).unwrap();
            assert_eq!((room.reserved, room.evicted.len()), (entry.weight(), 0));
            assert!(matches!(index.place(&entry), Placed::New(None)));
        }
        index
    }

    #[test]
    fn the_space_of_an_evicted_entry_stays_reserved_until_its_file_is_removed() {
        let weight = entry(0).weight();
        let mut index = with_entries(0..10, 10 * weight);
        assert_eq!((index.used, index.reserved), (10 * weight, 0));
        let first = index.make_room(SIZE).unwrap();
        assert_eq!((first.reserved, first.evicted.len()), (weight, 1));
        // The rest of the freed space is still reserved.
        let second = index.make_room(SIZE).unwrap();
        assert_eq!((second.reserved, second.evicted.len()), (weight, 1));
        assert_eq!((index.used, index.reserved), (8 * weight, 2 * weight));
        // The files are gone: one more reservation needs no eviction.
        index.release(2 * (weight - SIZE));
        let third = index.make_room(SIZE).unwrap();
        assert_eq!((third.reserved, third.evicted.len()), (SIZE, 0));
    }

    #[test]
    fn a_reservation_that_cannot_succeed_evicts_nothing() {
        let weight = entry(0).weight();
        let mut index = with_entries(0..10, 10 * weight);
        let room = index.make_room(6 * weight).unwrap();
        assert_eq!(room.evicted.len(), 6);
        assert!(index.make_room(5 * weight).is_none());
        assert_eq!((index.used, index.reserved), (4 * weight, 6 * weight));
    }

    #[test]
    fn removing_a_replaced_entry_leaves_its_successor() {
        let weight = entry(0).weight();
        let mut index = with_entries(0..1, 10 * weight);
        let (old, later) = (index.peek("0").unwrap(), entry(0));
        let newer = Arc::new(Entry::new("0", 5, later.layout()));
        index.make_room(weight).unwrap();
        assert!(matches!(index.place(&newer), Placed::New(Some(replaced)) if replaced.id() == 0));
        assert!(
            index.page("", None, 10).iter().all(|entry| entry.id() == 5),
            "the sorted set contains the newer entry too"
        );
        assert_eq!(
            (index.used, index.reserved),
            (weight, weight),
            "the file of the old entry still exists"
        );
        assert!(!index.remove(&old) && !index.remove_corrupt(&old));
        index.release(weight);
        index.make_room(weight).unwrap();
        assert!(matches!(index.place(&old), Placed::Superseded(kept) if kept.id() == 5));
        assert!(index.remove(&newer));
        assert_eq!((index.used, index.usage().objects, index.usage().corrupt), (0, 0, 0));
        assert!(index.page("", None, 10).is_empty());
    }

    #[test]
    fn the_index_evicts_entries_that_exceed_its_memory_limit() {
        let each = entry(0).footprint();
        let mut index = Index::new(u64::MAX / 2, 10 * each);
        for entry in (0..10).map(entry) {
            index.make_room(entry.weight()).unwrap();
            index.place(&entry);
        }
        assert_eq!((index.usage().objects, index.usage().index), (10, 10 * each));
        for entry in (10..1_000)
            .map(|id| Arc::new(Entry::new(format!("long/{id:04}"), id, entry(0).layout())))
        {
            let room = index.make_room(entry.weight()).unwrap();
            index.release(room.reserved - entry.weight());
            index.place(&entry);
            assert!(index.memory <= 11 * each + 8, "it exceeds the limit by one fill at most");
        }
        assert!(index.usage().evicted_objects >= 990);
        while let Some(entry) = index.page("", None, 1).pop() {
            assert!(index.remove(&entry));
        }
        assert_eq!(index.usage().index, 0, "each removal subtracts what the entry added");
    }

    #[test]
    fn a_requested_entry_outlives_a_scan_where_memory_is_the_limit() {
        let mut index = Index::new(u64::MAX / 2, 10 * entry(0).footprint());
        for id in 0..1_000 {
            let entry = entry(id);
            let room = index.make_room(entry.weight()).unwrap();
            index.release(room.reserved - entry.weight());
            index.place(&entry);
            if id == 0 {
                (0..2).for_each(|_| drop(index.get("0").unwrap()));
            }
        }
        assert!(index.usage().evicted_objects >= 980);
        assert!(index.peek("0").is_some());
    }
}
