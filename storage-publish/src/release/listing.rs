//! [`Listing`]: what the destination has of the keys that concern a site.

use std::collections::{HashMap, HashSet};

use storage_core::{ETag, Entry, Result, Storage};

/// The objects with the wanted keys. Memory is bounded by the number of wanted keys, whatever else
/// the destination has.
#[derive(Debug, Default)]
pub(crate) struct Listing(HashMap<String, Found>);

#[derive(Debug)]
struct Found {
    size: u64,
    etag: Option<ETag>,
}

impl Listing {
    /// Lists the destination once. Names that are no keys are skipped, because no key of a site is
    /// among them.
    pub(crate) async fn of(destination: &Storage, wanted: &HashSet<String>) -> Result<Self> {
        let mut found = HashMap::new();
        let mut entries = destination.list("").entries();
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(Entry::Object(object)) if wanted.contains(object.key.as_str()) => {
                    let key = object.key.as_str().to_owned();
                    found.insert(key, Found { size: object.size, etag: object.etag });
                }
                Ok(_) => {}
                Err(error) if error.listing_continues() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(found))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns whether there is an object of this size, and of this version if both ETags are
    /// known.
    pub(crate) fn has(&self, key: &str, size: u64, etag: Option<&ETag>) -> bool {
        self.0.get(key).is_some_and(|found| {
            let is_same = match (&found.etag, etag) {
                (Some(found), Some(etag)) => found == etag,
                _ => true,
            };
            found.size == size && is_same
        })
    }
}
