//! [`Index`]: which entries there are, in which order they leave, and who holds which bytes of the disk.
//!
//! All of it is behind one lock, which is held for a look-up in a table and a few links of lists,
//! never for input or output.
//!
//! Invariant: `used + reserved` is at least what our files take on the disk, and at most `max` (but for
//! a directory that was filled under a greater limit, until it has been cut down). Bytes go from
//! `reserved` to `used` when a fill becomes an entry; those of an entry that leaves stay in one of the
//! two until its file is removed.

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
    /// The most bytes of memory that the entries may take, as they estimate it themselves.
    max_memory: u64,
    entries: HashMap<ByKey, Ticket>,
    /// The same in order, for prefixes.
    keys: BTreeSet<ByKey>,
    queue: S3Fifo<Arc<Entry>>,
    used: u64,
    reserved: u64,
    memory: u64,
    evicted_objects: u64,
    evicted_bytes: u64,
    corrupt: u64,
}

/// Room that was made.
#[derive(Debug)]
pub(super) struct Room {
    /// What is reserved for the caller until he has removed the files of the entries that left, and
    /// then may be cut down to what he asked for.
    pub(super) reserved: u64,
    pub(super) left: Vec<Arc<Entry>>,
}

/// What became of an entry that was put in.
#[derive(Debug)]
pub(super) enum Placed {
    /// It is there; the one before it left, whose bytes are reserved until its file is removed.
    New(Option<Arc<Entry>>),
    /// It is not, for this one is there, whose fill began later.
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

    /// The entry of a key, counted as a hit.
    pub(super) fn get(&mut self, key: &str) -> Option<Arc<Entry>> {
        let (ByKey(entry), ticket) = self.entries.get_key_value(key)?;
        self.queue.hit(*ticket);
        entry.count_hit();
        Some(Arc::clone(entry))
    }

    /// The entry of a key, without counting.
    pub(super) fn peek(&self, key: &str) -> Option<Arc<Entry>> {
        self.entries.get_key_value(key).map(|(ByKey(entry), _)| Arc::clone(entry))
    }

    /// Holds bytes for the caller, and lets entries leave for it. `None`, and nothing leaves, if
    /// others hold too much. Entries leave too where there are too many for the memory of the
    /// index: each that is added has made room before, so that their number exceeds the limit by
    /// the fills under way at most.
    pub(super) fn make_room(&mut self, bytes: u64) -> Option<Room> {
        if self.reserved.saturating_add(bytes) > self.max {
            return None;
        }
        let left = self.evict_down_to(self.max - self.reserved - bytes);
        // What is freed is nobody's before the files are gone; what is asked for beyond it was free
        // before.
        let freed: u64 = left.iter().map(|entry| entry.weight()).sum();
        let reserved = bytes.max(freed);
        self.reserved += reserved;
        Some(Room { reserved, left })
    }

    /// Lets entries leave until the rest takes this little.
    fn evict_down_to(&mut self, used: u64) -> Vec<Arc<Entry>> {
        let mut left = Vec::new();
        while let Some(entry) = self.next_to_leave(used) {
            self.entries.remove(entry.key());
            self.keys.remove(entry.key());
            self.used -= entry.weight();
            self.memory -= entry.footprint();
            self.evicted_objects += 1;
            self.evicted_bytes += entry.weight();
            left.push(entry);
        }
        left
    }

    /// Takes out of the queue what leaves next, or `None` once the rest takes this little of the
    /// disk, and not too much memory.
    fn next_to_leave(&mut self, used: u64) -> Option<Arc<Entry>> {
        if self.used > used {
            self.queue.evict()
        } else if self.memory > self.max_memory {
            self.queue.evict_one_of_many()
        } else {
            None
        }
    }

    /// Gives back bytes that were reserved.
    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// Holds bytes that nobody asked for: those of a file that could not be removed.
    pub(super) fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    /// Puts in an entry whose bytes are reserved.
    pub(super) fn place(&mut self, entry: &Arc<Entry>) -> Placed {
        if let Some((ByKey(old), &ticket)) = self.entries.get_key_value(entry.key()) {
            let old = Arc::clone(old);
            if old.id() > entry.id() {
                return Placed::Superseded(old);
            }
            self.queue.replace(ticket, Arc::clone(entry), entry.weight());
            // The key of a table is the entry itself, which inserting an equal one would not
            // replace.
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

    /// Puts back what was there before a restart, the oldest fill first. Those that had proved
    /// their worth are told by the order; without one, all are taken to have, so that a scan right
    /// after the start does not wash them out.
    pub(super) fn put_back_all(&mut self, entries: Vec<Entry>, order: Option<&Order>) {
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

    /// Adds an entry of a new key; with hits, to those that have proved their worth.
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

    /// Takes out an entry whose file is removed, unless another version has its place. Whether it
    /// was there.
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

    /// As [`remove`](Self::remove), of an entry that was found broken.
    pub(super) fn remove_corrupt(&mut self, entry: &Entry) -> bool {
        let was_there = self.remove(entry);
        self.corrupt += u64::from(was_there);
        was_there
    }

    /// The next entries whose keys begin with a text, in order.
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

    /// The numbers of the entries that have proved their worth, with their hits, from the oldest
    /// on.
    pub(super) fn proven(&self) -> Vec<(u64, u8)> {
        self.queue.proven().map(|(entry, hits)| (entry.id(), hits)).collect()
    }

    /// What is told of the entries.
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

    /// An entry that takes three pages.
    fn entry(id: u64) -> Arc<Entry> {
        Arc::new(Entry::new(format!("{id}"), id, Layout::new(PAGE, SIZE).unwrap()))
    }

    fn with_entries(ids: std::ops::Range<u64>, max: u64) -> Index {
        let mut index = Index::new(max, u64::MAX);
        for entry in ids.map(entry) {
            let room = index.make_room(entry.weight()).unwrap();
            assert_eq!((room.reserved, room.left.len()), (entry.weight(), 0));
            assert!(matches!(index.place(&entry), Placed::New(None)));
        }
        index
    }

    #[test]
    fn the_room_of_what_left_is_nobodys_until_its_files_are_gone() {
        let weight = entry(0).weight();
        let mut index = with_entries(0..10, 10 * weight);
        assert_eq!((index.used, index.reserved), (10 * weight, 0));
        let first = index.make_room(SIZE).unwrap();
        assert_eq!((first.reserved, first.left.len()), (weight, 1));
        // What is left over of it is not yet there for another.
        let second = index.make_room(SIZE).unwrap();
        assert_eq!((second.reserved, second.left.len()), (weight, 1));
        assert_eq!((index.used, index.reserved), (8 * weight, 2 * weight));
        // The files are gone: there is room for one more without anybody leaving.
        index.release(2 * (weight - SIZE));
        let third = index.make_room(SIZE).unwrap();
        assert_eq!((third.reserved, third.left.len()), (SIZE, 0));
    }

    #[test]
    fn nothing_leaves_for_room_that_cannot_be_had() {
        let weight = entry(0).weight();
        let mut index = with_entries(0..10, 10 * weight);
        let room = index.make_room(6 * weight).unwrap();
        assert_eq!(room.left.len(), 6);
        assert!(index.make_room(5 * weight).is_none());
        assert_eq!((index.used, index.reserved), (4 * weight, 6 * weight));
    }

    #[test]
    fn an_entry_that_left_cannot_take_out_the_one_that_came_after() {
        let weight = entry(0).weight();
        let mut index = with_entries(0..1, 10 * weight);
        let (old, later) = (index.peek("0").unwrap(), entry(0));
        let newer = Arc::new(Entry::new("0", 5, later.layout()));
        index.make_room(weight).unwrap();
        assert!(matches!(index.place(&newer), Placed::New(Some(replaced)) if replaced.id() == 0));
        assert!(
            index.page("", None, 10).iter().all(|entry| entry.id() == 5),
            "the tree has the newer one too"
        );
        assert_eq!(
            (index.used, index.reserved),
            (weight, weight),
            "the file of the old one is there still"
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
    fn entries_leave_when_the_index_takes_more_memory_than_it_may() {
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
            assert!(index.memory <= 11 * each + 8, "by the one fill under way at most");
        }
        assert!(index.usage().evicted_objects >= 990);
        while let Some(entry) = index.page("", None, 1).pop() {
            assert!(index.remove(&entry));
        }
        assert_eq!(index.usage().index, 0, "what was added is taken away again");
    }

    #[test]
    fn what_is_asked_for_outlives_a_scan_where_memory_is_the_limit() {
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
