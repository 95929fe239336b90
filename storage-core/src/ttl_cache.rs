//! [`TtlCache`]: what was learned of keys a short while ago, in bounded memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Key;
use tokio::time::Instant;

/// A value for each of the keys that were learned of last. Each is forgotten after its time, and
/// earlier if there are too many.
///
/// Two generations of equal size: when the young one is full it becomes the old one, and the old
/// one goes. So what is forgotten early is what was learned longest ago, and nothing is ever
/// searched or sorted. A generation is full when it has half of the keys, or as many bytes of keys
/// as that many have that are of [`USUAL`] bytes: so a client that invents long keys gets no more
/// memory.
pub struct TtlCache<V> {
    lifetime: Duration,
    /// How many keys one generation holds.
    half: usize,
    generations: Mutex<Generations<V>>,
}

/// How many bytes a key usually has at most.
const USUAL: usize = 100;

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
    /// For at most `most` keys, each for `lifetime`.
    pub fn new(lifetime: Duration, most: usize) -> Self {
        let generations = Generations { bytes: 0, young: HashMap::new(), old: HashMap::new() };
        Self { lifetime, half: (most / 2).max(1), generations: Mutex::new(generations) }
    }

    /// What is known of a key, if it is known and not too old.
    pub fn get(&self, key: &Key) -> Option<V> {
        let generations = self.lock();
        let entry = generations.young.get(key).or_else(|| generations.old.get(key))?;
        (Instant::now() < entry.until).then(|| entry.value.clone())
    }

    /// Whether anything is known of a key.
    pub fn contains(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// Learns something of a key, in place of what was known.
    pub fn insert(&self, key: &Key, value: V) {
        let now = Instant::now();
        // A time too long to be added is as good as for ever.
        let until = now
            .checked_add(self.lifetime)
            .unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
        let mut generations = self.lock();
        if !generations.young.contains_key(key) {
            let len = key.as_str().len();
            let is_full =
                generations.young.len() >= self.half || generations.bytes + len > self.half * USUAL;
            if is_full && !generations.young.is_empty() {
                generations.old = std::mem::take(&mut generations.young);
                generations.bytes = 0;
            }
            generations.bytes += len;
        }
        generations.young.insert(key.clone(), Entry { value, until });
    }

    /// Forgets what is known of a key.
    pub fn remove(&self, key: &Key) {
        let mut generations = self.lock();
        if generations.young.remove(key).is_some() {
            generations.bytes -= key.as_str().len();
        }
        generations.old.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut generations = self.lock();
        // Their memory goes too.
        (generations.young, generations.old, generations.bytes) =
            (HashMap::new(), HashMap::new(), 0);
    }

    // Nothing panics while the lock is held, so a poisoned one holds sound maps all the same.
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
    async fn what_was_learned_is_known_for_its_time() {
        let recent = TtlCache::new(Duration::from_secs(120), 10);
        recent.insert(&key(1), false);
        tokio::time::advance(Duration::from_secs(119)).await;
        assert_eq!(recent.get(&key(1)), Some(false));
        recent.insert(&key(1), true);
        tokio::time::advance(Duration::from_secs(119)).await;
        assert_eq!(recent.get(&key(1)), Some(true), "learned anew, it is known for another while");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(recent.get(&key(1)), None);
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_the_last_ones_stay() {
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
    fn the_bytes_of_keys_are_bounded_too() {
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
            assert!(bytes <= 1_000 * USUAL, "{bytes}");
        }
        assert!((960..1_000).all(|n| recent.contains(&long(n))), "the last ones stay");
        (0..1_000).for_each(|n| recent.remove(&long(n)));
        assert_eq!(recent.lock().bytes, 0);
    }

    #[test]
    fn what_is_removed_does_not_come_back_from_the_older_generation() {
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
