//! [`Entry`]: one version of one object in the store.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::layout::Layout;
use super::meta::EntryMeta;

/// A kept object. Whoever holds one may find, when reading, that it has left the store meanwhile.
pub(crate) struct Entry {
    key: Arc<str>,
    id: u64,
    layout: Layout,
    meta: RwLock<Arc<EntryMeta>>,
    hits: AtomicU64,
    /// Set before its open file and its bytes in memory are let go, so that nobody brings them back.
    gone: AtomicBool,
    /// Held while the header is written, so that two do not mix.
    header: Mutex<()>,
}

impl Entry {
    pub(super) fn new(key: Arc<str>, id: u64, layout: Layout, meta: EntryMeta) -> Self {
        let (hits, gone) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { key, id, layout, meta: RwLock::new(Arc::new(meta)), hits, gone, header: Mutex::new(()) }
    }

    /// The key it is kept under.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The length of the body.
    pub(crate) fn size(&self) -> u64 {
        self.layout.size()
    }

    /// What is known of it, as of now.
    pub(crate) fn meta(&self) -> Arc<EntryMeta> {
        Arc::clone(&self.meta.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often it was asked for since the store was opened.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Tells versions apart: the later a fill began, the greater.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn shared_key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// What it takes on the disk.
    pub(super) fn weight(&self) -> u64 {
        self.layout.weight()
    }

    pub(super) fn set_meta(&self, meta: EntryMeta) {
        *self.meta.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(meta);
    }

    pub(super) fn writing_header(&self) -> MutexGuard<'_, ()> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
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
        f.debug_struct("Entry").field("key", &self.key).field("id", &self.id).field("size", &self.size()).finish()
    }
}
