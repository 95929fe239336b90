//! [`Sample`]: a random sample of keys in bounded memory, for the borders of shards.

use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};

use storage_core::{Error, ErrorKind, Key, Result};

/// The maximum number of borders.
const MAX_BORDERS: usize = 65_536;

/// The number of keys of the sample per range: the numbers of objects differ by the root of it.
const KEYS_PER_RANGE: usize = 32;

/// The least size of the sample.
const MIN_SAMPLE: usize = 4096;

/// The most, in keys. They have up to 1 KiB each.
const MAX_SAMPLE: usize = 262_144;

/// The keys with the least hash values. They are a random sample of different keys, and the same
/// each time, in whatever order the keys come.
#[derive(Debug)]
pub(super) struct Sample {
    size: usize,
    keys: BinaryHeap<(u64, Key)>,
}

impl Sample {
    /// Creates a sample for a number of borders.
    pub(super) fn new(borders: usize) -> Result<Self> {
        if borders > MAX_BORDERS {
            let message = format!("{borders} borders were requested; at most {MAX_BORDERS} are");
            let error = Error::new(ErrorKind::InvalidInput, message);
            return Err(error.with_note("set a smaller number of shards"));
        }
        let size = (borders * KEYS_PER_RANGE).clamp(MIN_SAMPLE, MAX_SAMPLE);
        Ok(Self { size, keys: BinaryHeap::new() })
    }

    pub(super) fn add(&mut self, key: Key) {
        let mut hasher = DefaultHasher::new();
        key.as_str().hash(&mut hasher);
        let hash = hasher.finish();
        if self.keys.len() >= self.size {
            if self.keys.peek().is_some_and(|(largest, _)| *largest <= hash) {
                return;
            }
            self.keys.pop();
        }
        self.keys.push((hash, key));
    }

    /// Returns keys at even distances, in byte order, each once.
    pub(super) fn borders(self, count: usize) -> Vec<Key> {
        let mut keys: Vec<_> = self.keys.into_iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() <= count {
            return keys;
        }
        let mut borders: Vec<_> =
            (1..=count).map(|border| keys[border * keys.len() / (count + 1)].clone()).collect();
        borders.dedup();
        borders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> impl Iterator<Item = Key> {
        (0..count).map(|number| Key::new(format!("{number:07}")).unwrap())
    }

    fn borders(keys: impl Iterator<Item = Key>, count: usize) -> Vec<Key> {
        let mut sample = Sample::new(count).unwrap();
        keys.for_each(|key| sample.add(key));
        assert!(sample.keys.len() <= sample.size);
        sample.borders(count)
    }

    #[test]
    fn borders_divide_the_keys_evenly() {
        let borders = borders(keys(100_000), 9);
        for (index, border) in borders.iter().enumerate() {
            let wanted = (index + 1) * 10_000;
            let position: usize = border.as_str().parse().unwrap();
            assert!(position.abs_diff(wanted) < 5000, "{wanted}: {position}");
        }
        assert_eq!(borders.len(), 9);
    }

    #[test]
    fn borders_do_not_depend_on_the_order_of_the_keys() {
        let reversed = keys(20_000).collect::<Vec<_>>().into_iter().rev();
        assert_eq!(borders(reversed, 100), borders(keys(20_000), 100));
    }

    #[test]
    fn fewer_keys_than_borders_are_all_borders() {
        assert_eq!(borders(keys(3), 10), keys(3).collect::<Vec<_>>());
        assert_eq!(borders(keys(3).chain(keys(3)), 10), keys(3).collect::<Vec<_>>());
        assert!(borders(keys(0), 10).is_empty());
    }

    #[test]
    fn too_many_borders_are_an_error() {
        let error = Sample::new(MAX_BORDERS + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
