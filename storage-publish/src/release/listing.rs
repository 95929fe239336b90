//! [`Listing`]: what the destination has of the keys that concern a site.

use std::collections::{HashMap, HashSet};

use storage_core::{ETag, Entry, Result, Storage};

/// The objects with the wanted keys. Memory is bounded by the number of wanted keys, whatever else
/// the destination has.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    objects: HashMap<String, Found>,
    /// Wanted keys below which there are objects.
    with_objects_below: HashSet<String>,
    /// Objects whose keys are directories of wanted keys.
    above: HashSet<String>,
}

#[derive(Debug)]
struct Found {
    size: u64,
    etag: Option<ETag>,
}

impl Listing {
    /// Lists the destination once. Names that are no keys are skipped, because no key of a site is
    /// among them.
    pub(crate) async fn of(destination: &Storage, wanted: &HashSet<String>) -> Result<Self> {
        let mut found = Self::default();
        let parents: HashSet<&str> = wanted.iter().flat_map(|key| directories(key)).collect();
        let mut entries = destination.list("").entries();
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(Entry::Object(object)) => {
                    let key = object.key.as_str();
                    let below = directories(key).filter(|above| wanted.contains(*above));
                    found.with_objects_below.extend(below.map(str::to_owned));
                    if parents.contains(key) {
                        found.above.insert(key.to_owned());
                    }
                    if wanted.contains(key) {
                        let object = Found { size: object.size, etag: object.etag.clone() };
                        found.objects.insert(key.to_owned(), object);
                    }
                }
                Ok(_) => {}
                Err(error) if error.listing_continues() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.objects.contains_key(key)
    }

    /// Returns whether a storage with directories has no place for this key: one of its directories
    /// is an object, or it is itself a directory with objects.
    pub(crate) fn may_block(&self, key: &str) -> bool {
        let is_blocked = self.with_objects_below.contains(key)
            || directories(key).any(|directory| self.above.contains(directory));
        is_blocked && !self.contains(key)
    }

    /// Returns whether there is an object of this size, and of this version if both ETags are
    /// known.
    pub(crate) fn has(&self, key: &str, size: u64, etag: Option<&ETag>) -> bool {
        self.objects.get(key).is_some_and(|found| {
            let is_same = match (&found.etag, etag) {
                (Some(found), Some(etag)) => found == etag,
                _ => true,
            };
            found.size == size && is_same
        })
    }
}

/// Returns the directories of a key, without a slash at the end: `a` and `a/b` for `a/b/c`.
fn directories(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('/').map(|(at, _)| &key[..at])
}
