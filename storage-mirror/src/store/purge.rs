//! Removing entries: by a purge, because they are broken, or to make room.

use std::sync::Arc;

use storage_core::internal::escape_invisible;
use storage_core::{Error, Result};

use super::Store;
use super::entry::Entry;
use super::shared::Shared;

/// How many entries a purge of a prefix removes at a time.
const PAGE: usize = 256;

impl Store {
    /// Removes the entry of a key and returns whether there was one. Waits for the disk.
    ///
    /// After it returns, no earlier version is served again: neither by a fill that began before,
    /// nor after a crash.
    ///
    /// # Errors
    /// Errors of the operating system. The entry may still exist then; call this again.
    pub(crate) fn purge(&self, key: &str) -> Result<bool> {
        self.shared.fills.purge(key);
        self.shared.wait_for_removals();
        let entry = self.shared.index().peek(key);
        match entry {
            Some(entry) => self.shared.purge_all(&[entry]).map(|purged| purged > 0),
            None => Ok(false),
        }
    }

    /// Removes the entries of several keys like [`purge`](Self::purge) and returns their number.
    ///
    /// # Errors
    /// As those of [`purge`](Self::purge). Some of the entries may be removed then.
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

    /// Removes the entries of all keys that begin with `prefix`, which has no wildcards, like
    /// [`purge`](Self::purge). Returns their number.
    ///
    /// # Errors
    /// As those of [`purge`](Self::purge). Some of the entries may be removed then.
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

    /// Removes one version, which origin no longer has. A newer version of the same key stays.
    /// Returns whether the version was in the store. Waits for the disk.
    ///
    /// # Errors
    /// As those of [`purge`](Self::purge).
    pub(crate) fn remove(&self, entry: &Arc<Entry>) -> Result<bool> {
        self.shared.purge_all(std::slice::from_ref(entry)).map(|removed| removed > 0)
    }
}

impl Shared {
    /// Removes the files before the entries: a reader that finds an entry meanwhile fails with
    /// `NotFound`, and an entry whose file could not be removed stays, so that the purge can be
    /// repeated.
    fn purge_all(&self, entries: &[Arc<Entry>]) -> Result<usize> {
        let mut removed = Vec::with_capacity(entries.len());
        let mut failure = None;
        for entry in entries {
            match self.directory.remove(entry) {
                Ok(_) => removed.push(entry),
                Err(error) => failure = Some(error),
            }
        }
        // A power cut must not restore a purged file.
        let synced = self.directory.sync_removals(removed.iter().map(|entry| entry.key()));
        let purged = removed.iter().filter(|entry| self.forget(entry)).count();
        match failure.or(synced.err()) {
            Some(error) => Err(Error::from(error).with_context("purging the cache")),
            None => Ok(purged),
        }
    }

    /// Takes out an entry whose file is gone and returns whether it was in the index.
    pub(super) fn forget(&self, entry: &Entry) -> bool {
        self.release(entry);
        self.index().remove(entry)
    }

    /// Removes a broken entry and counts it.
    pub(super) fn remove_corrupt(&self, entry: &Entry) {
        if let Err(error) = self.directory.remove(entry) {
            tracing::warn!(
                key = &*escape_invisible(entry.key()),
                %error,
                "failed to remove a broken entry from the cache"
            );
        }
        self.release(entry);
        self.index().remove_corrupt(entry);
    }

    /// Removes the files of entries that were taken out of the index, then releases `reserved`
    /// bytes.
    pub(super) fn remove_files(&self, reserved: u64, entries: &[Arc<Entry>]) {
        let mut stuck = 0;
        for entry in entries {
            if let Err(error) = self.directory.remove(entry) {
                tracing::warn!(
                    key = &*escape_invisible(entry.key()),
                    %error,
                    "failed to remove a file from the cache"
                );
                stuck += entry.weight();
            }
            self.release(entry);
        }
        let mut index = self.index();
        index.release(reserved);
        // The space of files that could not be removed stays reserved until the next start.
        index.reserve(stuck);
    }

    /// Takes the file, the bytes and the metadata of a removed entry out of the pools. Its readers
    /// keep theirs.
    fn release(&self, entry: &Entry) {
        entry.set_gone();
        self.release_file(entry);
        self.release_bytes(entry);
        self.release_metadata(entry);
    }
}
