//! [`Pool`]: a cache in memory, bounded by weight and evicted by S3-FIFO. Holds open files, bodies
//! and metadata.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::s3fifo::{S3Fifo, Ticket};

/// The bytes of memory that a value takes besides its own: its slots in the table and the queue
/// including unused capacity.
pub(super) const OVERHEAD: u64 = 192;

/// The key of a value: the id of an entry, and the index of one of its blocks.
pub(super) type Place = (u64, u64);

/// Values by their place, up to a total weight.
///
/// The lock is held for a table look-up and a few list links. Evicted values are dropped after it
/// is released, because closing the last descriptor of a removed file can be slow.
#[derive(Debug)]
pub(super) struct Pool<V> {
    capacity: u64,
    inner: Mutex<Inner<V>>,
}

#[derive(Debug)]
struct Inner<V> {
    values: HashMap<Place, (Ticket, V)>,
    queue: S3Fifo<Place>,
}

impl<V: Clone> Pool<V> {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            inner: Mutex::new(Inner { values: HashMap::new(), queue: S3Fifo::new(capacity) }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of a place and counts a hit.
    pub(super) fn get(&self, place: Place) -> Option<V> {
        let inner = &mut *self.lock();
        let (ticket, value) = inner.values.get(&place)?;
        inner.queue.hit(*ticket);
        Some(value.clone())
    }

    /// Adds a value and evicts others to make room. Ignores a value heavier than the whole pool.
    pub(super) fn insert(&self, place: Place, value: V, weight: u64) {
        if weight > self.capacity {
            return;
        }
        let mut leaving = Vec::new();
        let mut inner = self.lock();
        leaving.extend(inner.take(place));
        while inner.queue.weight() + weight > self.capacity
            && let Some(victim) = inner.queue.evict()
        {
            leaving.extend(inner.values.remove(&victim).map(|(_, value)| value));
        }
        let name = inner.values.hasher().hash_one(place);
        let ticket = inner.queue.insert(place, name, weight);
        inner.values.insert(place, (ticket, value));
        drop(inner);
        drop(leaving);
    }

    /// Removes the value of a place.
    pub(super) fn remove(&self, place: Place) {
        let value = self.lock().take(place);
        drop(value);
    }

    /// Returns the number of values.
    pub(super) fn len(&self) -> u64 {
        self.lock().values.len() as u64
    }

    /// Returns the total weight of all values.
    pub(super) fn weight(&self) -> u64 {
        self.lock().queue.weight()
    }
}

impl<V> Inner<V> {
    fn take(&mut self, place: Place) -> Option<V> {
        let (ticket, value) = self.values.remove(&place)?;
        self.queue.remove(ticket);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_never_exceeds_its_capacity() {
        let pool = Pool::new(100);
        for id in 0..1_000 {
            pool.insert((id, 1), id, id % 60 + 1);
            assert!(pool.weight() <= 100);
            assert_eq!(pool.get((id, 1)), Some(id), "the newest value is kept");
        }
        pool.insert((5_000, 0), 0, 101);
        assert_eq!(pool.get((5_000, 0)), None);
    }

    #[test]
    fn a_value_can_be_replaced_and_removed() {
        let pool = Pool::new(100);
        pool.insert((1, 0), "a", 60);
        pool.insert((1, 0), "b", 70);
        assert_eq!((pool.get((1, 0)), pool.weight()), (Some("b"), 70));
        pool.remove((1, 0));
        pool.remove((1, 0));
        assert_eq!((pool.get((1, 0)), pool.weight()), (None, 0));
    }
}
