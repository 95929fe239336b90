//! [`Write`]: a write at origin, which removes the replaced objects from the cache.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use storage_core::{Key, Result};

use super::lookup::Engine;
use super::off_thread::{drop_off_thread, off_thread};
use super::shared::Shared;

/// A running write at origin.
///
/// From [`begin`](Self::begin) until its end, its keys are not in the cache, no fetch of them
/// begins, and no earlier fetch of them is stored. If it fails or is dropped before
/// [`end`](Self::end), origin may still carry it out, so the keys bypass the cache for a minute.
#[derive(Debug)]
pub(crate) struct Write {
    shared: Arc<Shared>,
    keys: Vec<Key>,
    has_ended: bool,
}

impl Write {
    /// Removes the objects from the cache. Start the write after this returns `Ok`.
    ///
    /// # Errors
    /// As [`Store::purge_keys`](crate::store::Store::purge_keys). The engine then serves nothing,
    /// because the store may still contain a replaced object.
    pub(crate) async fn begin(engine: &Engine, keys: Vec<Key>) -> Result<Self> {
        let shared = Arc::clone(&engine.shared);
        shared.fetches.begin_write(&keys);
        let write = Self { shared, keys, has_ended: false };
        write.purge().await?;
        Ok(write)
    }

    /// Ends the write. `succeeded` states that its outcome is certain.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(crate) async fn end(mut self, succeeded: bool) -> Result<()> {
        let purged = self.purge().await;
        self.has_ended = succeeded && purged.is_ok();
        purged
    }

    async fn purge(&self) -> Result<()> {
        let (shared, keys) = (Arc::clone(&self.shared), self.keys.clone());
        off_thread(move || purge(&shared, &keys)).await
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.has_ended {
            invalidate(&self.shared, &self.keys);
        }
        self.shared.fetches.end_write(&self.keys);
    }
}

impl Engine {
    /// Makes keys with an uncertain state at origin bypass the cache for a minute. Removes their
    /// objects on another thread.
    pub(crate) fn invalidate(&self, keys: &[Key]) {
        invalidate(&self.shared, keys);
    }

    /// Removes objects. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Write::begin`].
    pub(crate) fn purge_keys(&self, keys: &[Key]) -> Result<()> {
        keys.iter().for_each(|key| self.shared.fetches.remove(key));
        purge(&self.shared, keys)
    }

    /// Removes objects like [`purge_keys`](Self::purge_keys). Their state at origin is uncertain,
    /// so their keys bypass the cache for a minute.
    ///
    /// # Errors
    /// As [`Write::begin`].
    pub(crate) fn purge_uncertain_keys(&self, keys: &[Key]) -> Result<()> {
        purge_uncertain(&self.shared, keys)
    }

    /// Removes all objects like [`purge_all`](Self::purge_all). All keys bypass the cache for a
    /// minute.
    ///
    /// # Errors
    /// As [`Write::begin`].
    pub(crate) fn purge_all_uncertain(&self) -> Result<()> {
        self.shared.fetches.set_all_uncertain();
        self.purge_all()
    }

    /// Removes all objects. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Write::begin`].
    pub(crate) fn purge_all(&self) -> Result<()> {
        self.shared.fetches.remove_prefix("");
        self.shared.store.purge_prefix("").map(drop)
    }

    /// Returns whether two handles refer to the same engine.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// Removes objects whose state at origin is uncertain when it is dropped. Its drop waits for the
/// disk.
struct Removal {
    shared: Arc<Shared>,
    keys: Vec<Key>,
}

impl Drop for Removal {
    fn drop(&mut self) {
        if let Err(error) = purge(&self.shared, &self.keys) {
            tracing::warn!(%error, "an object could not be removed from the cache, which is turned off");
        }
    }
}

fn invalidate(shared: &Arc<Shared>, keys: &[Key]) {
    // From here on these keys are not served.
    shared.fetches.set_uncertain(keys);
    drop_off_thread(Removal { shared: Arc::clone(shared), keys: keys.to_vec() });
}

fn purge_uncertain(shared: &Shared, keys: &[Key]) -> Result<()> {
    shared.fetches.set_uncertain(keys);
    purge(shared, keys)
}

fn purge(shared: &Shared, keys: &[Key]) -> Result<()> {
    let purged = shared.store.purge_keys(keys.iter().map(Key::as_str));
    if purged.is_err() {
        shared.is_off.store(true, Ordering::SeqCst);
    }
    purged.map(drop)
}
