//! Removing entries: by a purge, because they are broken, or to make room.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use storage_core::internal::escape_invisible;
use storage_core::{Error, Result};

use super::Store;
use super::entry::Entry;
use super::shared::{Shared, StuckFile};

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
        self.purge_keys([key]).map(|purged| purged > 0)
    }

    /// Removes the entries of several keys like [`purge`](Self::purge) and returns their number.
    ///
    /// # Errors
    /// As those of [`purge`](Self::purge). Some of the entries may be removed then.
    pub(crate) fn purge_keys<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Result<usize> {
        let shared = &self.shared;
        let keys: HashSet<_> = keys.into_iter().collect();
        keys.iter().for_each(|key| shared.fills.purge(key));
        shared.wait_for_removals();
        let entries: Vec<_> = {
            let index = shared.index();
            keys.iter().filter_map(|key| index.peek(key)).collect()
        };
        let mut purge = Purge::begin(shared);
        purge.remove(&entries);
        purge.remove_stuck(|key| keys.contains(key));
        purge.end(shared.directory.sync_removals(keys.into_iter()))
    }

    /// Removes the entries of all keys that begin with `prefix`, which has no wildcards, like
    /// [`purge`](Self::purge). Returns their number.
    ///
    /// # Errors
    /// As those of [`purge`](Self::purge). Some of the entries may be removed then.
    pub(crate) fn purge_prefix(&self, prefix: &str) -> Result<usize> {
        let shared = &self.shared;
        shared.fills.purge_prefix(prefix);
        shared.wait_for_removals();
        let mut purge = Purge::begin(shared);
        let mut after = None::<Arc<Entry>>;
        loop {
            let page = shared.index().page(prefix, after.as_ref().map(|entry| entry.key()), PAGE);
            let Some(last) = page.last() else { break };
            after = Some(Arc::clone(last));
            purge.remove(&page);
        }
        purge.remove_stuck(|key| key.starts_with(prefix));
        purge.end(shared.directory.sync_all_removals())
    }

    /// Removes one version, which origin no longer has. A newer version of the same key stays.
    /// Returns whether the version was in the store. Waits for the disk.
    ///
    /// # Errors
    /// As those of [`purge`](Self::purge).
    pub(crate) fn remove(&self, entry: &Arc<Entry>) -> Result<bool> {
        let mut purge = Purge::begin(&self.shared);
        purge.remove(std::slice::from_ref(entry));
        let synced = self.shared.directory.sync_removals([entry.key()].into_iter());
        purge.end(synced).map(|removed| removed > 0)
    }
}

/// A purge: the number of entries that it has removed, and an error of it.
struct Purge<'a> {
    shared: &'a Shared,
    purged: usize,
    failure: Option<io::Error>,
}

impl<'a> Purge<'a> {
    fn begin(shared: &'a Shared) -> Self {
        Self { shared, purged: 0, failure: None }
    }

    /// Removes the files before the entries: a reader that finds an entry meanwhile fails with
    /// `NotFound`, and an entry whose file could not be removed stays, so that the purge can be
    /// repeated.
    fn remove(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            match self.shared.directory.remove(entry) {
                Ok(_) => self.purged += usize::from(self.shared.forget(entry)),
                Err(error) => self.failure = Some(error),
            }
        }
    }

    /// Tries again to remove the files that could not be removed, of these keys.
    fn remove_stuck(&mut self, is_purged: impl Fn(&str) -> bool) {
        self.shared.stuck().retain(|file| {
            if !is_purged(&file.key) {
                return true;
            }
            match self.shared.directory.remove_version(&file.key, file.id) {
                Ok(_) => self.shared.index().release(file.weight),
                Err(error) => {
                    self.failure = Some(error);
                    return true;
                }
            }
            false
        });
    }

    /// Ends after the removals were synced, because a power cut must not restore a purged file.
    fn end(self, synced: io::Result<()>) -> Result<usize> {
        match self.failure.or(synced.err()) {
            Some(error) => Err(Error::from(error).with_context("purging the cache")),
            None => Ok(self.purged),
        }
    }
}

impl Shared {
    fn stuck(&self) -> MutexGuard<'_, Vec<StuckFile>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the file of an entry that is not in the index. If that fails, its space stays
    /// reserved until a purge or the next start.
    pub(super) fn remove_file(&self, entry: &Entry) {
        let Err(error) = self.directory.remove(entry) else { return };
        tracing::warn!(
            key = &*escape_invisible(entry.key()),
            %error,
            "failed to remove a file from the cache"
        );
        self.index().reserve(entry.weight());
        let (key, id, weight) = (entry.key().into(), entry.id(), entry.weight());
        self.stuck().push(StuckFile { key, id, weight });
    }

    /// Takes out an entry whose file is gone and returns whether it was in the index.
    pub(super) fn forget(&self, entry: &Entry) -> bool {
        self.release(entry);
        self.index().remove(entry)
    }

    /// Removes a broken entry and counts it.
    pub(super) fn remove_corrupt(&self, entry: &Entry) {
        // A purge waits for this, because the entry is out of the index before its file is gone.
        let _removing = self.lock_removals();
        self.release(entry);
        let was_there = self.index().remove_corrupt(entry);
        if was_there {
            self.remove_file(entry);
        }
    }

    /// Removes the files of entries that were taken out of the index, then releases `reserved`
    /// bytes.
    pub(super) fn remove_files(&self, reserved: u64, entries: &[Arc<Entry>]) {
        for entry in entries {
            self.remove_file(entry);
            self.release(entry);
        }
        self.index().release(reserved);
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
