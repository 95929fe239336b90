//! [`Entry`]: one version of one object in the store.

use std::borrow::Borrow;
use std::cmp::Ordering as Order;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::layout::Layout;

/// A kept object. Whoever holds one may find, when reading, that it has left the store meanwhile.
///
/// There is one in memory for each kept object, so it holds what the index needs and no more. The
/// metadata stays in the header of the file ([`Store::meta`](super::Store::meta)).
pub(crate) struct Entry {
    key: Box<str>,
    id: u64,
    layout: Layout,
    hits: AtomicU32,
    /// Set before its open file and its bytes in memory are let go, so that nothing brings them
    /// back.
    gone: AtomicBool,
}

/// What an entry takes in memory besides its key: itself, its share of a table, of a tree and of a
/// queue with their unused room, and what an allocator adds.
const OVERHEAD: u64 = size_of::<Entry>() as u64 + 144;

impl Entry {
    pub(super) fn new(key: impl Into<Box<str>>, id: u64, layout: Layout) -> Self {
        Self { key: key.into(), id, layout, hits: AtomicU32::new(0), gone: AtomicBool::new(false) }
    }

    /// The key it is kept under.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The length of the body.
    pub(crate) fn size(&self) -> u64 {
        self.layout.size()
    }

    /// How often it was asked for since the store was opened. Stays at the greatest number there
    /// is.
    pub(crate) fn hits(&self) -> u64 {
        u64::from(self.hits.load(Ordering::Relaxed))
    }

    /// Tells versions apart: the later a fill began, the greater.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// What it takes on the disk.
    pub(super) fn weight(&self) -> u64 {
        self.layout.weight()
    }

    /// What the index takes in memory for it, as an estimate.
    pub(super) fn footprint(&self) -> u64 {
        OVERHEAD + self.key.len() as u64
    }

    pub(super) fn count_hit(&self) {
        // Two hits at once at the very end may go one too far: a wrong figure, and nothing else.
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

/// An entry in a collection that is looked up and sorted by key, so that the key is in memory once.
#[derive(Debug, Clone)]
pub(super) struct ByKey(pub(super) Arc<Entry>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        self.0.key()
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` has it, by which it is looked up.
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
