//! The disk cache of the mirror: whole objects in one directory, bounded in size, checked at every
//! read, and recovered after a crash.
//!
//! Each object is one file: [`layout`] defines its bytes, [`directory`] its name. An index in
//! memory ([`index`]) finds entries, and S3-FIFO ([`s3fifo`]) chooses which of them are evicted. A
//! small part of the bodies is also held in memory.
//!
//! - **Atomic**: an object becomes visible when all its bytes are on the disk and match the size
//!   and the checksums that origin announced ([`fill`]). The next start removes incomplete files
//!   and restores the complete ones ([`recover`]).
//! - **Verified**: every block is compared with its checksum each time it is read ([`read`]). A
//!   broken entry is removed and fetched again. Keys are compared byte by byte.
//! - **Bounded**: entries are evicted before a fill reserves its space, so the objects never take
//!   more than `max_size`.
//! - **A purge wins** over every fill that began before it ([`purge`]).
//!
//! Everything here is synchronous. Functions that may wait for the disk say so; call them only
//! where blocking is allowed. The others ([`Store::get`], [`Store::hot`], [`Store::try_load`],
//! [`Reader::try_read_from`], ...) take microseconds.
//!
//! # The course of a request
//!
//! 1. [`Store::get`] finds the entry.
//! 2. [`Store::try_meta`] returns its metadata; [`Store::meta`] does where that would wait.
//! 3. A small body comes from memory ([`Store::hot`]) or is read at once ([`Store::try_load`],
//!    [`Store::load`] where that would wait). A large body is read block by block by a [`Reader`].
//!
//! An error of kind `NotFound` or `Integrity` means that the entry has been removed: the request is
//! a miss. A miss begins a [`Fill`] *before* it sends a request to origin, creates a [`Filling`]
//! once the metadata is known, writes the body to it, and commits it. Other requests for the key
//! read the same body from its [`Tail`] meanwhile.

mod buffers;
mod directory;
mod entry;
mod fill;
mod fills;
mod index;
mod layout;
mod limits;
mod memory;
mod meta;
mod metadata;
mod order;
mod pool;
mod purge;
mod read;
mod recover;
mod s3fifo;
mod shared;
mod spool;
mod sys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use storage_core::Result;

use directory::Directory;
use fills::Fills;
use index::Index;
use pool::Pool;
use shared::Shared;

pub(crate) use entry::Entry;
pub(crate) use fill::{Fill, Filling, Tail};
pub(crate) use layout::BLOCK;
pub(crate) use limits::{
    DEFAULT_INDEX_MEMORY, DEFAULT_MEMORY, Limits, OPEN_FILES, Recovered, Usage,
};
pub(crate) use memory::MAX_IN_MEMORY;
pub(crate) use meta::EntryMeta;
pub(crate) use read::Reader;
pub(crate) use shared::Store;

/// The divisor that gives the part of [`Limits::memory`] reserved for metadata.
const METADATA_SHARE: u64 = 8;

/// How many entries one page of [`Store::entries`] holds. The index is locked for one page at a
/// time.
const PAGE: usize = 512;

impl Store {
    /// Opens a directory and restores its entries. Creates the directory if it is missing.
    ///
    /// Waits for the disk: about one second for ten thousand objects if the kernel has none of
    /// their headers in memory.
    ///
    /// # Errors
    /// `Conflict` if another process has the directory open. Errors of the operating system.
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<(Self, Recovered)> {
        let directory = Directory::open(path)?;
        let found = recover::recover(&directory)?;
        let order = order::take(&directory.order());
        let mut index = Index::new(limits.max_size, limits.index_memory);
        index.restore(found.entries, order.as_ref());
        let shared = Shared {
            index: Mutex::new(index),
            removals: RwLock::default(),
            stuck: Mutex::default(),
            fills: Fills::default(),
            handles: Pool::new(limits.open_files),
            memory: Pool::new(limits.memory - limits.memory / METADATA_SHARE),
            metadata: Pool::new(limits.memory / METADATA_SHARE),
            headers: Default::default(),
            buffers: Arc::default(),
            last_id: AtomicU64::new(found.last_id),
            limits,
            directory,
        };
        // `max_size` may be lower than at the last start.
        let room = shared.index().make_room(0);
        if let Some(room) = room {
            shared.remove_files(room.reserved, &room.evicted);
        }
        Ok((Self { shared: Arc::new(shared) }, found.recovered))
    }

    /// Returns the entry of a key and counts a hit, which eviction takes into account.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.shared.index().get(key)
    }

    /// Returns the entry of a key without counting a hit.
    pub(crate) fn peek(&self, key: &str) -> Option<Arc<Entry>> {
        self.shared.index().peek(key)
    }

    /// Begins to fill a key. Call it before the request to origin, so that a later purge wins.
    pub(crate) fn begin(&self, key: &str) -> Fill {
        Fill::begin(&self.shared, key)
    }

    /// Returns what the store contains and what has happened since it was opened.
    pub(crate) fn usage(&self) -> Usage {
        let shared = &self.shared;
        let usage = shared.index().usage();
        let (memory, metadata) = (shared.memory.weight(), shared.metadata.weight());
        Usage { memory, metadata, open_files: shared.handles.len(), ..usage }
    }

    /// Iterates over all entries, sorted by key. May include or miss entries that are added or
    /// removed meanwhile.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Arc<Entry>> {
        let mut after: Option<Arc<Entry>> = None;
        let pages = std::iter::from_fn(move || {
            let page = self.shared.index().page("", after.as_ref().map(|entry| entry.key()), PAGE);
            after = page.last().cloned();
            after.is_some().then_some(page)
        });
        pages.flatten()
    }

    /// Returns the `n` entries with the most hits since the store was opened.
    pub(crate) fn top(&self, n: usize) -> Vec<Arc<Entry>> {
        // Sorted by hits, then by key. The list never exceeds `n` entries.
        let mut top: Vec<Arc<Entry>> = Vec::with_capacity(n.saturating_add(1));
        for entry in self.entries() {
            let at = top.partition_point(|better| better.hits() >= entry.hits());
            if at < n {
                top.truncate(n - 1);
                top.insert(at, entry);
            }
        }
        top
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let proven = self.index().proven();
        if let Err(error) = order::write(&self.directory.order(), &proven) {
            tracing::debug!(
                %error,
                "failed to write the eviction order of the cache; the next start has none"
            );
        }
    }
}
