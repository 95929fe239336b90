//! The metadata of entries. It stays in the headers of their files, so that an object which is kept
//! costs little memory; what is asked for again is in memory too, as long as there is room.

use std::mem::size_of;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};

use storage_core::{Error, Result};

use super::entry::Entry;
use super::layout::{self, Broken};
use super::meta::EntryMeta;
use super::pool;
use super::read::Reader;
use super::{Shared, Store, sys};

/// How many locks the headers share.
pub(super) const HEADER_LOCKS: usize = 16;

impl Store {
    /// Returns the metadata of an entry. May wait for the disk.
    ///
    /// # Errors
    /// `NotFound` if the entry has left the store; `Integrity` if its header is broken, and then it
    /// has left too; `Unexpected`, to be tried again, if there are too many open files.
    pub(crate) fn meta(&self, entry: &Arc<Entry>) -> Result<Arc<EntryMeta>> {
        if let Some(meta) = self.shared.metadata.get((entry.id(), 0)) {
            return Ok(meta);
        }
        let reader = self.reader(entry)?;
        let _not_while_it_is_written = self.shared.header(entry);
        // The task that wrote the header has put the metadata there.
        if let Some(meta) = self.shared.metadata.get((entry.id(), 0)) {
            return Ok(meta);
        }
        let mut header = header_of(entry);
        let read = sys::read_exact_at(reader.file(), &mut header, 0);
        read.map_err(|error| self.shared.trouble(entry, error.into()))?;
        let meta =
            decoded(entry, &header).map_err(|broken| self.shared.trouble(entry, broken.into()))?;
        Ok(self.shared.keep_metadata(entry, meta))
    }

    /// Returns the metadata of an entry if that does not have to wait: if it is in memory, or the
    /// file is open and the kernel has the header in memory. What is broken is `None` too: `meta`
    /// reports it.
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

    /// Gives an entry newer metadata, when origin said that the body is current. Waits for the
    /// disk. Returns whether it is on the disk too: if it does not fit in its place, or the entry
    /// has left, it is known as long as it is in memory, and after that the old metadata, whose
    /// time is over.
    ///
    /// # Errors
    /// What the operating system says; the new metadata is in memory all the same.
    pub(crate) fn refresh(&self, entry: &Entry, meta: EntryMeta) -> Result<bool> {
        let unwritable = |cause| Error::unexpected("the metadata cannot be written", cause);
        let json = meta.to_json(entry.key()).map_err(unwritable)?;
        let _no_other = self.shared.header(entry);
        self.shared.keep_metadata(entry, meta);
        // At most MAX_HEADER.
        let Some(header) = layout::encode_header(&json, entry.layout().body() as usize) else {
            return Ok(false);
        };
        let path = self.shared.directory.entry_file(entry.key(), entry.id());
        match std::fs::File::options().write(true).open(path) {
            // Torn by a crash, it makes the next start drop the entry.
            Ok(file) => sys::write_all_at(&file, &header, 0).map(|()| true).map_err(Error::from),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Shared {
    /// Keeps metadata in memory, unless the entry is gone.
    pub(super) fn keep_metadata(&self, entry: &Entry, meta: EntryMeta) -> Arc<EntryMeta> {
        let weight = (size_of::<EntryMeta>() + meta.text_len()) as u64 + pool::OVERHEAD;
        let meta = Arc::new(meta);
        self.metadata.insert((entry.id(), 0), Arc::clone(&meta), weight);
        if entry.is_gone() {
            self.let_go_of_metadata(entry);
        }
        meta
    }

    pub(super) fn let_go_of_metadata(&self, entry: &Entry) {
        self.metadata.remove((entry.id(), 0));
    }

    /// Held while a header is written or read, so that two do not mix.
    fn header(&self, entry: &Entry) -> MutexGuard<'_, ()> {
        self.headers[lock_of(entry)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which lock is that of an entry: entries share them, so that none has one of its own.
fn lock_of(entry: &Entry) -> usize {
    entry.id() as usize % HEADER_LOCKS
}

fn header_of(entry: &Entry) -> Vec<u8> {
    // At most MAX_HEADER.
    vec![0; entry.layout().body() as usize]
}

fn decoded(entry: &Entry, header: &[u8]) -> std::result::Result<EntryMeta, Broken> {
    let meta = EntryMeta::from_json(layout::decode_header(header)?);
    let (key, meta) = meta.map_err(|_| Broken("the metadata cannot be read"))?;
    let is_its_own = key == entry.key() && meta.object.size == entry.size();
    if is_its_own { Ok(meta) } else { Err(Broken("the header is that of another object")) }
}
