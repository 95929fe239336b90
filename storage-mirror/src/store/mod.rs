//! What the mirror keeps on its disk: a bounded cache of whole objects that survives crashes and
//! checks itself.
//!
//! One file an object ([`layout`] has its bytes, [`directory`] its name), an index in memory
//! ([`index`]), and S3-FIFO to decide what leaves when room is needed ([`s3fifo`]). A small part of
//! the bodies is kept in memory too.
//!
//! - **Whole or not at all**: an object becomes visible when all its bytes are on the disk and are
//!   those that origin announced ([`fill`]). What a crash leaves half done is removed at the next
//!   start ([`recover`]), which comes back warm.
//! - **Never the wrong bytes**: every block is compared with its checksum each time it is read
//!   ([`read`]); what is broken leaves and is fetched again. Keys are compared as they are, byte by
//!   byte.
//! - **Bounded**: room is made before a fill begins, so the directory never takes more than
//!   `max_size`.
//! - **A purge wins** over every fill that began before it ([`purge`]).
//!
//! Everything here is synchronous. What may wait for the disk says so and is to be called where
//! blocking is allowed; the rest ([`Store::get`], [`Store::hot`], [`Store::try_load`],
//! [`Reader::try_read_block`], ...) takes microseconds.
//!
//! # The course of a request
//!
//! [`Store::get`] finds the entry, and [`Store::try_meta`] (where that would wait [`Store::meta`])
//! its metadata; the body of a small one is in memory ([`Store::hot`]), or comes as a whole
//! ([`Store::try_load`], and where that would wait [`Store::load`]); that of a large one comes
//! block by block from a [`Reader`]. An error of kind `NotFound` or `Integrity` means that the
//! entry has left: the request is a miss. A miss begins a [`Fill`] *before* it asks origin, has it
//! create a [`Filling`] once the metadata is known, writes to it what arrives, lets the others who
//! wait read it from its [`Tail`], and commits it.

mod buffers;
mod directory;
mod entry;
mod fill;
mod fills;
mod index;
mod known;
mod layout;
mod limits;
mod memory;
mod meta;
mod order;
mod pool;
mod purge;
mod read;
mod recover;
mod s3fifo;
mod spool;
mod sys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use storage_core::Result;

use buffers::Buffers;
use directory::Directory;
use fills::Fills;
use index::Index;
use pool::Pool;
use read::Handle;

pub(crate) use entry::Entry;
pub(crate) use fill::{Fill, Filling, Tail};
pub(crate) use layout::BLOCK;
pub(crate) use limits::{
    DEFAULT_INDEX_MEMORY, DEFAULT_MEMORY, Limits, OPEN_FILES, Recovered, Usage,
};
pub(crate) use memory::MAX_IN_MEMORY;
pub(crate) use meta::EntryMeta;
pub(crate) use read::Reader;

/// Which part of the memory is for metadata: one in this many.
const METADATA_SHARE: u64 = 8;

/// How many entries are looked at with the lock held when all are gone through.
const PAGE: usize = 512;

/// A cache directory that is open. Cheap to clone; when the last clone, and the last fill and
/// reader, is dropped, it is closed.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    index: Mutex<Index>,
    /// Read while entries that have left the index have their files removed. A purge waits for them:
    /// otherwise the file of an evicted entry could outlive the purge of its key in a process that
    /// is killed then.
    removals: RwLock<()>,
    fills: Fills,
    handles: Pool<Arc<Handle>>,
    memory: Pool<Bytes>,
    metadata: Pool<Arc<EntryMeta>>,
    headers: [Mutex<()>; known::HEADER_LOCKS],
    buffers: Arc<Buffers>,
    last_id: AtomicU64,
    // The last, so that its lock is let go when all else is closed.
    directory: Directory,
}

impl Store {
    /// Opens a directory, which is made if it is missing, and brings back what is in it. Waits for
    /// the disk: a second for some ten thousand objects, if nothing of them is in memory.
    ///
    /// # Errors
    /// `Conflict` if another process has it open; what the operating system says.
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<(Self, Recovered)> {
        let directory = Directory::open(path)?;
        let found = recover::recover(&directory)?;
        let order = order::take(&directory.order());
        let mut index = Index::new(limits.max_size, limits.index_memory);
        index.put_back_all(found.entries, order.as_ref());
        let shared = Shared {
            index: Mutex::new(index),
            removals: RwLock::default(),
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
        // The limit may be a lower one than last time.
        let room = shared.index().make_room(0);
        if let Some(room) = room {
            shared.removed(room.reserved, &room.left);
        }
        Ok((Self { shared: Arc::new(shared) }, found.recovered))
    }

    /// The entry of a key. A hit, which counts when it is decided what leaves.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.shared.index().get(key)
    }

    /// The entry of a key, without counting a hit.
    pub(crate) fn peek(&self, key: &str) -> Option<Arc<Entry>> {
        self.shared.index().peek(key)
    }

    /// Begins to fill a key. To be called before origin is asked, so that a purge from then on
    /// wins.
    pub(crate) fn begin(&self, key: &str) -> Fill {
        Fill::begin(&self.shared, key)
    }

    /// What is in the store, and what has happened since it was opened.
    pub(crate) fn usage(&self) -> Usage {
        let shared = &self.shared;
        let usage = shared.index().usage();
        let (memory, metadata) = (shared.memory.weight(), shared.metadata.weight());
        Usage { memory, metadata, open_files: shared.handles.len(), ..usage }
    }

    /// All entries, by key. What comes or goes meanwhile may be among them or not.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Arc<Entry>> {
        let mut after: Option<Arc<Entry>> = None;
        let pages = std::iter::from_fn(move || {
            let page = self.shared.index().page("", after.as_ref().map(|entry| entry.key()), PAGE);
            after = page.last().cloned();
            after.is_some().then_some(page)
        });
        pages.flatten()
    }

    /// The entries that were asked for most since the store was opened, at most `n`.
    pub(crate) fn top(&self, n: usize) -> Vec<Arc<Entry>> {
        // By hits, and among equals the first by key. No more are held than are wanted.
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

impl Shared {
    // Nothing panics while the lock is held, so a poisoned one holds a sound index all the same.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held from before entries leave the index until their files are removed.
    fn removing(&self) -> RwLockReadGuard<'_, ()> {
        self.removals.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the files of all entries that have left the index are removed.
    fn wait_for_removals(&self) {
        drop(self.removals.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.directory.path()).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let proven = self.index().proven();
        if let Err(error) = order::write(&self.directory.order(), &proven) {
            tracing::debug!(%error, "the order of the cache could not be written down; the next start does without");
        }
    }
}
