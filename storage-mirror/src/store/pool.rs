//! [`Pool`]: a bounded number of things at hand, the most wanted of them. Open files, and bytes in memory.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::s3fifo::{S3Fifo, Ticket};

/// What a value takes besides its bytes: its places in the table and the queue, with their unused
/// room.
pub(super) const OVERHEAD: u64 = 192;

/// What a value is of: the number of an entry, and which of its blocks.
pub(super) type Place = (u64, u64);

/// Values by their place, up to a total weight.
///
/// The lock is held for a look-up in a table and a few links of a list. What leaves is dropped
/// after it is released, since closing the last descriptor of a removed file can take the file
/// system a while.
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

    /// The value of a place, counted as a hit.
    pub(super) fn get(&self, place: Place) -> Option<V> {
        let inner = &mut *self.lock();
        let (ticket, value) = inner.values.get(&place)?;
        inner.queue.hit(*ticket);
        Some(value.clone())
    }

    /// Keeps a value, and lets others go for it. One that is heavier than the pool is not kept.
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

    /// Lets a value go.
    pub(super) fn remove(&self, place: Place) {
        let value = self.lock().take(place);
        drop(value);
    }

    /// How many values there are.
    pub(super) fn len(&self) -> u64 {
        self.lock().values.len() as u64
    }

    /// What all values weigh.
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
    fn a_pool_never_weighs_more_than_it_may() {
        let pool = Pool::new(100);
        for id in 0..1_000 {
            pool.insert((id, 1), id, id % 60 + 1);
            assert!(pool.weight() <= 100);
            assert_eq!(pool.get((id, 1)), Some(id), "what came last is there");
        }
        pool.insert((5_000, 0), 0, 101);
        assert_eq!(pool.get((5_000, 0)), None);
    }

    #[test]
    fn a_value_is_replaced_and_let_go() {
        let pool = Pool::new(100);
        pool.insert((1, 0), "a", 60);
        pool.insert((1, 0), "b", 70);
        assert_eq!((pool.get((1, 0)), pool.weight()), (Some("b"), 70));
        pool.remove((1, 0));
        pool.remove((1, 0));
        assert_eq!((pool.get((1, 0)), pool.weight()), (None, 0));
    }
}
