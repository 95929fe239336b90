//! Reading and replacing the metadata of entries. It is stored in the headers of their files, so
//! that a stored object costs little memory. A pool holds the metadata that was read last.

use std::mem::size_of;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};

use storage_core::{Error, Result};

use super::entry::Entry;
use super::layout::{self, Broken};
use super::meta::EntryMeta;
use super::pool;
use super::read::Reader;
use super::shared::{HEADER_LOCKS, Shared};
use super::{Store, sys};

impl Store {
    /// Returns the metadata of an entry. May wait for the disk.
    ///
    /// # Errors
    /// `NotFound` if the entry has been removed. `Integrity` if its header is broken; the entry has
    /// then been removed. `Unexpected`, retryable, for other errors, such as too many open files.
    pub(crate) fn meta(&self, entry: &Arc<Entry>) -> Result<Arc<EntryMeta>> {
        if let Some(meta) = self.shared.metadata.get((entry.id(), 0)) {
            return Ok(meta);
        }
        let reader = self.reader(entry)?;
        let _not_while_it_is_written = self.shared.header(entry);
        // A task that replaced the header meanwhile has put the metadata into the pool.
        if let Some(meta) = self.shared.metadata.get((entry.id(), 0)) {
            return Ok(meta);
        }
        let mut header = header_of(entry);
        let read = sys::read_exact_at(reader.file(), &mut header, 0);
        read.map_err(|error| self.shared.handle_failure(entry, error.into()))?;
        let meta = decoded(entry, &header)
            .map_err(|broken| self.shared.handle_failure(entry, broken.into()))?;
        Ok(self.shared.keep_metadata(entry, meta))
    }

    /// Returns the metadata of an entry without waiting: if it is in the pool, or the file is open
    /// and the kernel has the header in memory. Returns `None` otherwise, and for a broken header,
    /// which [`meta`](Self::meta) reports.
    pub(crate) fn try_meta(&self, entry: &Arc<Entry>) -> Option<Arc<EntryMeta>> {
        if let Some(meta) = self.shared.metadata.get((entry.id(), 0)) {
            return Some(meta);
        }
        let reader: Reader = self.try_reader(entry)?;
        let _not_while_it_is_written = match self.shared.headers[lock_of(entry)].try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let mut header = header_of(entry);
        if !sys::read_now(reader.file(), &mut header, 0) {
            return None;
        }
        let meta = decoded(entry, &header).ok()?;
        Some(self.shared.keep_metadata(entry, meta))
    }

    /// Replaces the metadata of an entry after origin confirmed that the body is current. Waits for
    /// the disk.
    ///
    /// Returns whether the metadata was written to the file. It is not if it does not fit in the
    /// header or the entry has been removed. Then it is used while it is in memory, and after that
    /// the old, stale metadata.
    ///
    /// # Errors
    /// Errors of the operating system. The new metadata is in memory even then.
    pub(crate) fn refresh(&self, entry: &Entry, meta: EntryMeta) -> Result<bool> {
        let unwritable = |cause| Error::unexpected("failed to encode the metadata", cause);
        let json = meta.to_json(entry.key()).map_err(unwritable)?;
        let _no_other = self.shared.header(entry);
        self.shared.keep_metadata(entry, meta);
        // The header length is at most `MAX_HEADER`.
        let Some(header) = layout::encode_header(&json, entry.layout().body() as usize) else {
            return Ok(false);
        };
        let path = self.shared.directory.entry_file(entry.key(), entry.id());
        match std::fs::File::options().write(true).open(path) {
            // The next start removes an entry whose header a crash left incomplete.
            Ok(file) => sys::write_all_at(&file, &header, 0).map(|()| true).map_err(Error::from),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Shared {
    /// Adds metadata to the pool, unless the entry has been removed.
    pub(super) fn keep_metadata(&self, entry: &Entry, meta: EntryMeta) -> Arc<EntryMeta> {
        let weight = (size_of::<EntryMeta>() + meta.text_len()) as u64 + pool::OVERHEAD;
        let meta = Arc::new(meta);
        self.metadata.insert((entry.id(), 0), Arc::clone(&meta), weight);
        if entry.is_gone() {
            self.release_metadata(entry);
        }
        meta
    }

    pub(super) fn release_metadata(&self, entry: &Entry) {
        self.metadata.remove((entry.id(), 0));
    }

    /// Locks the header of an entry, so that no task reads it while another writes it.
    fn header(&self, entry: &Entry) -> MutexGuard<'_, ()> {
        self.headers[lock_of(entry)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the index of the lock of an entry. Entries share locks to save memory.
fn lock_of(entry: &Entry) -> usize {
    entry.id() as usize % HEADER_LOCKS
}

fn header_of(entry: &Entry) -> Vec<u8> {
    // The header length is at most `MAX_HEADER`.
    vec![0; entry.layout().body() as usize]
}

fn decoded(entry: &Entry, header: &[u8]) -> std::result::Result<EntryMeta, Broken> {
    let meta = EntryMeta::from_json(layout::decode_header(header)?);
    let (key, meta) = meta.map_err(|_| Broken("the metadata cannot be read"))?;
    let is_its_own = key == entry.key() && meta.object.size == entry.size();
    if is_its_own { Ok(meta) } else { Err(Broken("the header is that of another object")) }
}
