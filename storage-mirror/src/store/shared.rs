//! [`Store`], and [`Shared`]: the state that its clones, fills and readers share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::buffers::Buffers;
use super::directory::Directory;
use super::fills::Fills;
use super::index::Index;
use super::limits::Limits;
use super::meta::EntryMeta;
use super::pool::Pool;
use super::read::Handle;

/// The number of locks that protect the headers.
pub(super) const HEADER_LOCKS: usize = 16;

/// An open cache directory.
///
/// Clones share it. It is closed when the last clone, fill and reader are dropped.
#[derive(Clone)]
pub(crate) struct Store {
    pub(super) shared: Arc<Shared>,
}

/// The state of an open cache directory.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) index: Mutex<Index>,
    /// Locked for reading while the files of removed entries are deleted. A purge waits for them:
    /// otherwise the file of an evicted entry could survive the purge of its key if the process is
    /// killed in between.
    pub(super) removals: RwLock<()>,
    pub(super) stuck: Mutex<Vec<StuckFile>>,
    pub(super) fills: Fills,
    pub(super) handles: Pool<Arc<Handle>>,
    pub(super) memory: Pool<Bytes>,
    pub(super) metadata: Pool<Arc<EntryMeta>>,
    pub(super) headers: [Mutex<()>; HEADER_LOCKS],
    pub(super) buffers: Arc<Buffers>,
    pub(super) last_id: AtomicU64,
    // The last field, so that its lock is released after all other files are closed.
    pub(super) directory: Directory,
}

/// A file that could not be removed although its entry is out of the index. Its space stays
/// reserved. The next start would restore the entry, so a purge of its key tries again.
#[derive(Debug)]
pub(super) struct StuckFile {
    pub(super) key: Box<str>,
    pub(super) id: u64,
    pub(super) weight: u64,
}

impl Shared {
    // No code panics while it holds the lock, so the index behind a poisoned lock is intact.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a guard to be held from before entries are taken out of the index until their files
    /// are removed.
    pub(super) fn lock_removals(&self) -> RwLockReadGuard<'_, ()> {
        self.removals.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the files of all entries that were taken out of the index are removed.
    pub(super) fn wait_for_removals(&self) {
        drop(self.removals.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.directory.path()).finish_non_exhaustive()
    }
}
