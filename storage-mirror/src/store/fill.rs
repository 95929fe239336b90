//! Filling: receiving an object from origin into the store.
//!
//! A [`Fill`] begins before the request to origin, a [`Filling`] receives the bytes, and its commit
//! turns them into an [`Entry`]. A commit returns once the bytes are synced to the disk and the
//! file has its final name. The directory is not synced: after a power cut the file may be missing,
//! which is a miss, or may still be in the directory of fills, which the next start clears. A file
//! under its final name is complete, because its bytes were synced before it was renamed.

use std::fs::{self, File};
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use storage_core::{Checksum, Error, ErrorKind, Hasher, Result};

use super::buffers::Buffers;
use super::entry::Entry;
use super::fills::FillState;
use super::index::Placed;
use super::layout::{BLOCK, Layout, encode_header, header_len};
use super::meta::EntryMeta;
use super::read::Handle;
use super::shared::Shared;
use super::sys;

/// A fetch that is about to begin, registered with the store before the request to origin.
///
/// A purge of the key after that keeps the fetched object from becoming an entry. Requests that
/// already wait for the object still receive it; later requests need a fill of their own.
#[derive(Debug)]
pub(crate) struct Fill {
    shared: Arc<Shared>,
    key: Arc<str>,
    id: u64,
    state: Arc<FillState>,
}

impl Fill {
    pub(super) fn begin(shared: &Arc<Shared>, key: &str) -> Self {
        let (key, id) = (Arc::from(key), shared.next_id());
        let state = shared.fills.add(&key, id);
        Self { shared: Arc::clone(shared), key, id, state }
    }

    /// Returns whether the key was purged since the fill began.
    #[cfg(test)]
    pub(super) fn is_purged(&self) -> bool {
        self.state.is_purged()
    }

    /// Reserves space for the object and creates its file. Waits for the disk.
    ///
    /// # Errors
    /// `TooLarge` if the object is larger than the limits allow. `StorageFull` if other fills have
    /// reserved the space, or the disk is full. `InvalidInput` if the metadata does not fit in a
    /// header. The object can then only be passed through.
    pub(crate) fn create(self, meta: EntryMeta) -> Result<Filling> {
        let size = meta.object.size;
        if self.shared.limits.max_object_size.is_some_and(|most| size > most) {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "the object is larger than max_object_size",
            ));
        }
        let json = meta
            .to_json(&self.key)
            .map_err(|cause| Error::unexpected("failed to encode the metadata", cause))?;
        let too_much = || {
            Error::new(
                ErrorKind::InvalidInput,
                "there is more metadata than a cache entry can hold",
            )
        };
        let header_len = header_len(json.len()).ok_or_else(too_much)?;
        let too_large = || {
            Error::new(ErrorKind::TooLarge, "the object is larger than max_size, the whole cache")
        };
        let layout = Layout::new(header_len, size).ok_or_else(too_large)?;
        if layout.weight() > self.shared.limits.max_size {
            return Err(too_large());
        }
        let reservation = Reservation::take(&self.shared, layout.weight())?;
        let partial = Partial::create(&self.shared, self.id)?;
        let header = encode_header(&json, header_len).ok_or_else(too_much)?;
        sys::write_all_at(&partial.file, &header, 0)?;
        if size > BLOCK as u64 {
            sys::allocate(&partial.file, layout.file_len())?;
        }
        let checks = meta
            .object
            .checksums
            .iter()
            .map(|sum| (sum.clone(), Hasher::new(sum.algorithm())))
            .collect();
        let sums = Sums::new(layout);
        Ok(Filling {
            partial,
            reservation,
            fill: self,
            meta,
            layout,
            sums,
            checks,
            written: 0,
            failed: false,
        })
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.shared.fills.remove(&self.key, self.id);
    }
}

/// An object that is being received. Dropping it without a commit removes its file and releases its
/// space.
#[derive(Debug)]
pub(crate) struct Filling {
    // Fields are dropped in this order: the file is removed before its space is released.
    partial: Partial,
    reservation: Reservation,
    fill: Fill,
    meta: EntryMeta,
    layout: Layout,
    sums: Sums,
    /// The checksums that origin announced, each with the hasher of the bytes received so far.
    checks: Vec<(Checksum, Hasher)>,
    written: u64,
    failed: bool,
}

impl Filling {
    /// Returns whether the key was purged since the fill began.
    #[cfg(test)]
    pub(super) fn is_purged(&self) -> bool {
        self.fill.is_purged()
    }

    /// Returns the number of bytes written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Returns a reader of the bytes written so far. It stays usable after the filling is dropped
    /// or committed.
    pub(crate) fn tail(&self) -> Tail {
        let buffers = Arc::clone(&self.fill.shared.buffers);
        Tail { file: Arc::clone(&self.partial.file), body: self.layout.body(), buffers }
    }

    /// Writes the next bytes. A [`Tail`] can read them once it returns. Waits for the disk.
    ///
    /// # Errors
    /// `Integrity` if there are more bytes than origin announced. `StorageFull` and other errors of
    /// the operating system. After an error every further call fails with `Integrity`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check_alive()?;
        // Reset on success; an early return leaves the filling failed.
        self.failed = true;
        if bytes.len() as u64 > self.layout.size() - self.written {
            return Err(Error::new(
                ErrorKind::Integrity,
                "origin sent more bytes than it announced",
            ));
        }
        sys::write_all_at(&self.partial.file, bytes, self.layout.body() + self.written)?;
        self.sums.update(bytes);
        self.checks.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
        self.written += bytes.len() as u64;
        self.failed = false;
        Ok(())
    }

    /// Turns the object into an entry, which replaces an older one of the key. If the key already
    /// has an entry whose fill began later, that entry stays and is returned. Waits for the disk.
    ///
    /// # Errors
    /// `Integrity` if bytes are missing or do not match origin's checksums. `Conflict` if the key
    /// was purged since the fill began. `StorageFull` and other errors of the operating system. The
    /// object is not stored then.
    pub(crate) fn commit(mut self) -> Result<Arc<Entry>> {
        self.check_alive()?;
        if self.written < self.layout.size() {
            let message = format!("origin sent {} of {} bytes", self.written, self.layout.size());
            return Err(Error::new(ErrorKind::Integrity, message));
        }
        for (expected, hasher) in std::mem::take(&mut self.checks) {
            let found = hasher.finish();
            if found != expected {
                let message = format!(
                    "the received bytes have the checksum {found}; origin announced {expected}"
                );
                return Err(Error::new(ErrorKind::Integrity, message));
            }
        }
        let sums = self.sums.finish();
        sys::write_all_at(&self.partial.file, &self.layout.encode_end(&sums), self.layout.end())?;
        self.partial.file.sync_data()?;
        self.publish(sums)
    }

    fn publish(mut self, sums: Box<[u64]>) -> Result<Arc<Entry>> {
        let Self { fill, layout, .. } = &self;
        let shared = Arc::clone(&fill.shared);
        let entry = Arc::new(Entry::new(&*fill.key, fill.id, *layout));
        let state = Arc::clone(&fill.state);
        let _removing = shared.lock_removals();
        let replaced = {
            let _no_purge_now = state.committing();
            if state.is_purged() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "the key was purged while it was being fetched",
                ));
            }
            self.partial.publish(&entry)?;
            let placed = shared.index().place(&entry);
            match placed {
                Placed::New(replaced) => replaced,
                Placed::Superseded(newer) => {
                    shared.remove_file(&entry);
                    return Ok(newer);
                }
            }
        };
        self.reservation.commit(entry.weight());
        shared.keep_open(&entry, &Arc::new(Handle::new(Arc::clone(&self.partial.file), sums)));
        shared.keep_metadata(&entry, self.meta.clone());
        if let Some(old) = replaced {
            shared.remove_files(old.weight(), &[old]);
        }
        Ok(entry)
    }

    fn check_alive(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::Integrity, "the fill failed before"));
        }
        Ok(())
    }
}

/// Reads the body of a [`Filling`] while it is being written.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    file: Arc<File>,
    body: u64,
    buffers: Arc<Buffers>,
}

impl Tail {
    /// Reads `len` bytes of the body from `at`, at most [`BLOCK`]. They must have been written. May
    /// wait for the disk.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(crate) fn read(&self, at: u64, len: usize) -> Result<Bytes> {
        let mut buffer = self.buffers.take(len.min(BLOCK));
        sys::read_exact_at(&self.file, buffer.as_mut(), self.body + at)?;
        Ok(buffer.freeze())
    }

    /// Reads like [`read`](Self::read) if the kernel has the bytes in memory, as is usual right
    /// after they were written. Returns `None` otherwise.
    pub(crate) fn try_read(&self, at: u64, len: usize) -> Option<Bytes> {
        let mut buffer = self.buffers.take(len.min(BLOCK));
        sys::read_now(&self.file, buffer.as_mut(), self.body + at).then(|| buffer.freeze())
    }
}

/// Disk space reserved for a fill. Dropping it releases the space.
#[derive(Debug)]
pub(super) struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn take(shared: &Arc<Shared>, bytes: u64) -> Result<Self> {
        let full =
            || Error::new(ErrorKind::StorageFull, "running fills have reserved all of max_size");
        let _removing = shared.lock_removals();
        let room = shared.index().make_room(bytes).ok_or_else(full)?;
        let reservation = Self { shared: Arc::clone(shared), bytes };
        shared.remove_files(room.reserved - bytes, &room.evicted);
        Ok(reservation)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves further bytes.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<()> {
        let mut more = Self::take(&self.shared, bytes)?;
        self.bytes += std::mem::take(&mut more.bytes);
        Ok(())
    }

    /// Subtracts bytes that now belong to an entry.
    fn commit(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.index().release(self.bytes);
    }
}

/// The file of a fill. Dropping it removes the file unless it became that of an entry.
#[derive(Debug)]
pub(super) struct Partial {
    shared: Arc<Shared>,
    file: Arc<File>,
    id: u64,
    published: bool,
}

impl Partial {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn create(shared: &Arc<Shared>, id: u64) -> Result<Self> {
        let file = sys::create_file(&shared.directory.fill_file(id))?;
        Ok(Self { shared: Arc::clone(shared), file: Arc::new(file), id, published: false })
    }

    fn publish(&mut self, entry: &Entry) -> Result<()> {
        let directory = &self.shared.directory;
        fs::rename(directory.fill_file(self.id), directory.entry_file(entry.key(), self.id))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_file(self.shared.directory.fill_file(self.id))
        {
            tracing::warn!(%error, "failed to remove the file of a fill; the next start retries");
        }
    }
}

/// Computes the checksum of each block of a body that is written in pieces.
#[derive(Debug)]
struct Sums {
    done: Vec<u64>,
    running: Digest,
    /// How many bytes of the current block have been hashed.
    filled: usize,
}

impl Sums {
    fn new(layout: Layout) -> Self {
        // The announced length is unverified, so the memory allocated for it is bounded.
        let done = Vec::with_capacity(layout.blocks().min(1024) as usize);
        Self { done, running: Digest::new(CrcAlgorithm::Crc64Nvme), filled: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.running.update(now);
            self.filled += now.len();
            if self.filled == BLOCK {
                self.end_block();
            }
            bytes = rest;
        }
    }

    fn end_block(&mut self) {
        self.done.push(self.running.finalize_reset());
        self.filled = 0;
    }

    fn finish(&mut self) -> Box<[u64]> {
        if self.filled > 0 {
            self.end_block();
        }
        std::mem::take(&mut self.done).into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::crc;
    use super::*;

    #[test]
    fn the_sums_do_not_depend_on_how_the_body_is_cut_into_pieces() {
        let body: Vec<_> = (0..BLOCK * 2 + 1000).map(|n| (n % 251) as u8).collect();
        let expected: Vec<_> = body.chunks(BLOCK).map(crc).collect();
        for cut in [7_919, BLOCK - 1, BLOCK, BLOCK + 1, body.len()] {
            let mut sums = Sums::new(Layout::new(4096, body.len() as u64).unwrap());
            body.chunks(cut).for_each(|chunk| sums.update(chunk));
            assert_eq!(*sums.finish(), *expected, "cut into {cut}");
        }
    }
}
