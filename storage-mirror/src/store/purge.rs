//! Leaving the store: purged by key or prefix, found broken, or making room.

use std::sync::Arc;

use storage_core::internal::escape_invisible;
use storage_core::{Error, Result};

use super::entry::Entry;
use super::{Shared, Store};

/// How many entries a purge takes out at a time.
const PAGE: usize = 256;

impl Store {
    /// Removes the entry of a key. When it returns, nothing of what was there before is served or
    /// comes back, neither from a fill that began before nor after a crash. Whether there was an
    /// entry. Waits for the disk.
    ///
    /// # Errors
    /// What the operating system says about removing; the entry may be there still.
    pub(crate) fn purge(&self, key: &str) -> Result<bool> {
        self.shared.fills.purge(key);
        self.shared.wait_for_removals();
        let entry = self.shared.index().peek(key);
        match entry {
            Some(entry) => self.shared.purge_all(&[entry]).map(|purged| purged > 0),
            None => Ok(false),
        }
    }

    /// As [`purge`](Self::purge), for several keys. Returns how many entries there were.
    ///
    /// # Errors
    /// As [`purge`](Self::purge); some entries may be gone then.
    pub(crate) fn purge_keys<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Result<usize> {
        let keys: Vec<_> = keys.into_iter().collect();
        keys.iter().for_each(|key| self.shared.fills.purge(key));
        self.shared.wait_for_removals();
        let entries: Vec<_> = {
            let index = self.shared.index();
            keys.iter().filter_map(|key| index.peek(key)).collect()
        };
        if entries.is_empty() { Ok(0) } else { self.shared.purge_all(&entries) }
    }

    /// The same for all keys that begin with a text, taken literally. How many entries there were.
    ///
    /// # Errors
    /// As [`purge`](Self::purge); some entries may be gone then.
    pub(crate) fn purge_prefix(&self, prefix: &str) -> Result<usize> {
        self.shared.fills.purge_prefix(prefix);
        self.shared.wait_for_removals();
        let (mut purged, mut after) = (0, None::<Arc<Entry>>);
        loop {
            let page =
                self.shared.index().page(prefix, after.as_ref().map(|entry| entry.key()), PAGE);
            let Some(last) = page.last() else { return Ok(purged) };
            after = Some(Arc::clone(last));
            purged += self.shared.purge_all(&page)?;
        }
    }

    /// Removes one version: origin has it no longer. A newer one of the same key stays. Whether it
    /// was there. Waits for the disk.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub(crate) fn remove(&self, entry: &Arc<Entry>) -> Result<bool> {
        self.shared.purge_all(std::slice::from_ref(entry)).map(|removed| removed > 0)
    }
}

impl Shared {
    /// The files go first: whoever comes by an entry meanwhile finds nothing to read, and what
    /// could not be removed is still known, so that the purge can be tried again.
    fn purge_all(&self, entries: &[Arc<Entry>]) -> Result<usize> {
        let mut removed = Vec::with_capacity(entries.len());
        let mut failure = None;
        for entry in entries {
            match self.directory.remove(entry) {
                Ok(_) => removed.push(entry),
                Err(error) => failure = Some(error),
            }
        }
        // What a purge has removed must not come back with a power cut.
        let synced = self.directory.sync_removals(removed.iter().map(|entry| entry.key()));
        let purged = removed.iter().filter(|entry| self.forget(entry)).count();
        match failure.or(synced.err()) {
            Some(error) => Err(Error::from(error).with_context("purging the cache")),
            None => Ok(purged),
        }
    }

    /// Takes out an entry whose file is gone. Whether it was there.
    pub(super) fn forget(&self, entry: &Entry) -> bool {
        self.let_go(entry);
        self.index().remove(entry)
    }

    /// Removes an entry that was found broken, and counts it.
    pub(super) fn remove_corrupt(&self, entry: &Entry) {
        if let Err(error) = self.directory.remove(entry) {
            tracing::warn!(key = &*escape_invisible(entry.key()), %error, "a broken entry could not be removed from the cache");
        }
        self.let_go(entry);
        self.index().remove_corrupt(entry);
    }

    /// Removes the files of entries that have left the index, and gives back bytes that were held
    /// until then.
    pub(super) fn removed(&self, reserved: u64, entries: &[Arc<Entry>]) {
        let mut stuck = 0;
        for entry in entries {
            if let Err(error) = self.directory.remove(entry) {
                tracing::warn!(key = &*escape_invisible(entry.key()), %error, "a file could not be removed from the cache");
                stuck += entry.weight();
            }
            self.let_go(entry);
        }
        let mut index = self.index();
        index.release(reserved);
        // What stays on the disk is nobody else's, until the next start finds it.
        index.reserve(stuck);
    }

    /// Closes the file of an entry that leaves and forgets its bytes; who is reading it has both
    /// still.
    fn let_go(&self, entry: &Entry) {
        entry.set_gone();
        self.let_go_of_file(entry);
        self.let_go_of_bytes(entry);
        self.let_go_of_metadata(entry);
    }
}
