//! [`Entry`]: one version of one object in the store.

use std::borrow::Borrow;
use std::cmp::Ordering as Order;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::layout::Layout;

/// A stored object. It may be removed from the store while a caller holds it; reads then fail with
/// `NotFound`.
///
/// Each stored object has one in memory, so it contains only what the index needs. The metadata
/// stays in the header of the file ([`Store::meta`](super::Store::meta)).
pub(crate) struct Entry {
    key: Box<str>,
    id: u64,
    layout: Layout,
    hits: AtomicU32,
    /// Set before the pools release the open file and the bytes of the entry, so that no reader
    /// adds them again.
    gone: AtomicBool,
}

/// The estimated bytes of memory that an entry takes besides its key: the struct, its share of the
/// table, the tree and the queue including unused capacity, and the overhead of the allocator.
const OVERHEAD: u64 = size_of::<Entry>() as u64 + 144;

impl Entry {
    pub(super) fn new(key: impl Into<Box<str>>, id: u64, layout: Layout) -> Self {
        Self { key: key.into(), id, layout, hits: AtomicU32::new(0), gone: AtomicBool::new(false) }
    }

    /// Returns the key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Returns the length of the body in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.layout.size()
    }

    /// Returns the number of hits since the store was opened. Saturates at `u32::MAX`.
    pub(crate) fn hits(&self) -> u64 {
        u64::from(self.hits.load(Ordering::Relaxed))
    }

    /// Returns the id of the version. A fill that began later has a greater one.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the bytes that the file takes on the disk.
    pub(super) fn weight(&self) -> u64 {
        self.layout.weight()
    }

    /// Returns the estimated bytes of memory that the index takes for the entry.
    pub(super) fn footprint(&self) -> u64 {
        OVERHEAD + self.key.len() as u64
    }

    pub(super) fn count_hit(&self) {
        // Two concurrent hits at `u32::MAX - 1` may overflow: only the figure is wrong then.
        if self.hits.load(Ordering::Relaxed) < u32::MAX {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("id", &self.id)
            .field("size", &self.size())
            .finish()
    }
}

/// An entry that compares and hashes by its key, so that collections need no copy of the key.
#[derive(Debug, Clone)]
pub(super) struct ByKey(pub(super) Arc<Entry>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        self.0.key()
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The same hash as that of `str`, as `Borrow<str>` requires.
        self.0.key().hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Order {
        self.0.key().cmp(other.0.key())
    }
}
