//! [`TtlCache`]: values by key that expire, in bounded memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Key;
use tokio::time::Instant;

/// A map from keys to values that expire after a fixed time, and earlier if there are too many.
///
/// It has two generations of equal size: a full young generation becomes the old one, and the old
/// one is dropped. So the oldest entries are evicted first, without searching or sorting. A
/// generation is full if it has half of the keys, or half of the keys times `USUAL_KEY_BYTES`
/// bytes of keys: so a client that invents long keys uses no more memory.
pub struct TtlCache<V> {
    lifetime: Duration,
    /// The maximum number of keys of one generation.
    half: usize,
    generations: Mutex<Generations<V>>,
}

/// The usual length of a long key, in bytes.
const USUAL_KEY_BYTES: usize = 100;

struct Generations<V> {
    /// The bytes of the keys of the young generation.
    bytes: usize,
    young: HashMap<Key, Entry<V>>,
    old: HashMap<Key, Entry<V>>,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    until: Instant,
}

impl<V: Clone> TtlCache<V> {
    /// Creates a cache of at most `max_keys` keys, which expire after `lifetime`.
    pub fn new(lifetime: Duration, max_keys: usize) -> Self {
        let generations = Generations { bytes: 0, young: HashMap::new(), old: HashMap::new() };
        Self { lifetime, half: (max_keys / 2).max(1), generations: Mutex::new(generations) }
    }

    /// Returns the value of a key, unless it has expired.
    pub fn get(&self, key: &Key) -> Option<V> {
        let generations = self.lock();
        let entry = generations.young.get(key).or_else(|| generations.old.get(key))?;
        (Instant::now() < entry.until).then(|| entry.value.clone())
    }

    /// Returns whether a key has a value that has not expired.
    pub fn contains(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// Sets the value of a key, with a new lifetime.
    pub fn insert(&self, key: &Key, value: V) {
        let now = Instant::now();
        // A lifetime that overflows is replaced by one of 136 years.
        let until = now
            .checked_add(self.lifetime)
            .unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
        let mut generations = self.lock();
        if !generations.young.contains_key(key) {
            let len = key.as_str().len();
            let is_full = generations.young.len() >= self.half
                || generations.bytes + len > self.half * USUAL_KEY_BYTES;
            if is_full && !generations.young.is_empty() {
                generations.old = std::mem::take(&mut generations.young);
                generations.bytes = 0;
            }
            generations.bytes += len;
        }
        generations.young.insert(key.clone(), Entry { value, until });
    }

    /// Removes the value of a key.
    pub fn remove(&self, key: &Key) {
        let mut generations = self.lock();
        if generations.young.remove(key).is_some() {
            generations.bytes -= key.as_str().len();
        }
        generations.old.remove(key);
    }

    /// Removes all values.
    pub fn clear(&self) {
        let mut generations = self.lock();
        // Frees the memory too.
        (generations.young, generations.old, generations.bytes) =
            (HashMap::new(), HashMap::new(), 0);
    }

    // No code panics while it holds the lock, so the maps of a poisoned lock are consistent.
    fn lock(&self) -> MutexGuard<'_, Generations<V>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> fmt::Debug for TtlCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TtlCache").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::new(format!("k/{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_expires_after_its_lifetime() {
        let recent = TtlCache::new(Duration::from_secs(120), 10);
        recent.insert(&key(1), false);
        tokio::time::advance(Duration::from_secs(119)).await;
        assert_eq!(recent.get(&key(1)), Some(false));
        recent.insert(&key(1), true);
        tokio::time::advance(Duration::from_secs(119)).await;
        assert_eq!(recent.get(&key(1)), Some(true), "an insert begins a new lifetime");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(recent.get(&key(1)), None);
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_the_newest_stay() {
        let recent = TtlCache::new(Duration::from_secs(120), 100);
        for number in 0..10_000 {
            recent.insert(&key(number), number);
        }
        let generations = recent.lock();
        assert!(generations.young.len() + generations.old.len() <= 100);
        drop(generations);
        assert!((9_950..10_000).all(|number| recent.get(&key(number)) == Some(number)));
        assert_eq!(recent.get(&key(1)), None);
    }

    #[test]
    fn the_bytes_of_keys_are_bounded() {
        let recent = TtlCache::new(Duration::from_secs(120), 1_000);
        let long = |n: usize| Key::new(format!("{n}/{}", "x".repeat(1_000))).unwrap();
        for n in 0..1_000 {
            recent.insert(&long(n), n);
            let generations = recent.lock();
            let bytes: usize = generations
                .young
                .keys()
                .chain(generations.old.keys())
                .map(|key| key.as_str().len())
                .sum();
            assert!(bytes <= 1_000 * USUAL_KEY_BYTES, "{bytes}");
        }
        assert!((960..1_000).all(|n| recent.contains(&long(n))), "the last ones stay");
        (0..1_000).for_each(|n| recent.remove(&long(n)));
        assert_eq!(recent.lock().bytes, 0);
    }

    #[test]
    fn a_removed_value_does_not_return_from_the_old_generation() {
        let recent = TtlCache::new(Duration::from_secs(120), 4);
        recent.insert(&key(1), "old");
        recent.insert(&key(2), "old");
        recent.insert(&key(3), "young");
        recent.insert(&key(1), "young");
        assert_eq!(recent.get(&key(1)), Some("young"));
        recent.remove(&key(1));
        assert_eq!(recent.get(&key(1)), None);
    }

    #[test]
    fn keys_that_differ_in_case_are_different_keys() {
        let recent = TtlCache::new(Duration::from_secs(120), 10);
        recent.insert(&Key::new("Foo.mp3").unwrap(), 1);
        assert!(!recent.contains(&Key::new("foo.mp3").unwrap()));
    }
}
