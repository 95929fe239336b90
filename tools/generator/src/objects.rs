//! [`Objects`]: the keys, sizes and versions of all objects, computed from their numbers.

use std::time::{Duration, SystemTime};

use anystorage::{ETag, Key, ObjectEntry, ObjectMeta, Result};

use crate::bodies::mix;

/// The most objects: their numbers have nine digits.
pub(crate) const MAX_COUNT: u64 = 1_000_000_000;
/// How many objects a directory has, and how many directories the one above it.
const FAN_OUT: u64 = 1000;
/// When all objects were saved, in seconds since 1970. Before any copy of them.
const SAVED: u64 = 1_600_000_000;

/// All objects. The first ones may have another size.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    pub(crate) count: u64,
    pub(crate) size: u64,
    pub(crate) large_count: u64,
    pub(crate) large_size: u64,
    pub(crate) seed: u64,
}

impl Objects {
    /// Returns the key of a number as text: `000/123/000123456.bin`. All have the same length, so
    /// their order is that of the numbers.
    pub(crate) fn name(number: u64) -> String {
        let directory = number / FAN_OUT;
        format!("{:03}/{:03}/{number:09}.bin", directory / FAN_OUT, directory % FAN_OUT)
    }

    /// Returns the number of a key, if there is such an object.
    pub(crate) fn number(&self, key: &Key) -> Option<u64> {
        let digits = key.name().strip_suffix(".bin")?;
        let number = digits.parse().ok().filter(|&number| number < self.count)?;
        (Self::name(number) == key.as_str()).then_some(number)
    }

    /// Returns the number of the first object whose key does not fulfil the condition, which all
    /// keys before it and no key after it fulfil. Looks at about 30 keys.
    pub(crate) fn first_without(&self, condition: impl Fn(&str) -> bool) -> u64 {
        let mut numbers = 0..self.count;
        while !numbers.is_empty() {
            let middle = numbers.start + (numbers.end - numbers.start) / 2;
            if condition(&Self::name(middle)) {
                numbers.start = middle + 1;
            } else {
                numbers.end = middle;
            }
        }
        numbers.start
    }

    pub(crate) fn size(&self, number: u64) -> u64 {
        if number < self.large_count { self.large_size } else { self.size }
    }

    /// The bytes depend on nothing else than what this ETag is made of.
    fn etag(&self, number: u64) -> Result<ETag> {
        ETag::strong(format!("{:016x}-{:x}", mix(self.seed ^ mix(number)), self.size(number)))
    }

    pub(crate) fn entry(&self, number: u64) -> Result<ObjectEntry> {
        let mut entry = ObjectEntry::new(Key::new(Self::name(number))?, self.size(number));
        entry.etag = Some(self.etag(number)?);
        entry.last_modified = Some(saved());
        Ok(entry)
    }

    pub(crate) fn meta(&self, number: u64) -> Result<ObjectMeta> {
        let mut meta = ObjectMeta::new(Key::new(Self::name(number))?, self.size(number));
        meta.etag = Some(self.etag(number)?);
        meta.last_modified = Some(saved());
        Ok(meta)
    }
}

fn saved() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(SAVED)
}
