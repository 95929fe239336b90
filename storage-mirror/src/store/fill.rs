//! Filling: an object on its way from origin into the store.
//!
//! A [`Fill`] is begun before origin is asked, a [`Filling`] takes the bytes, and its commit makes
//! them an [`Entry`]. A commit answers once the bytes are on the disk and the file has its name.
//! The directory is not synced: after a power cut a file may be missing, which is a miss, or still
//! be among those of fills under way, which are removed; a file that is there is whole, since its
//! bytes were on the disk before it was named.

use std::fs::{self, File};
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use storage_core::internal::escape_invisible;
use storage_core::{Checksum, Error, ErrorKind, Hasher, Result};

use super::Shared;
use super::buffers::Buffers;
use super::entry::Entry;
use super::fills::Course;
use super::index::Placed;
use super::layout::{BLOCK, Layout, encode_header, header_len};
use super::meta::EntryMeta;
use super::read::Handle;
use super::sys;

/// The intention to fetch an object, known to the store from before origin is asked: a purge that
/// comes after this keeps what is fetched from becoming an entry; it goes to those who wait for it,
/// and who asks from then on is to be served by another.
#[derive(Debug)]
pub(crate) struct Fill {
    shared: Arc<Shared>,
    key: Arc<str>,
    id: u64,
    course: Arc<Course>,
}

impl Fill {
    pub(super) fn begin(shared: &Arc<Shared>, key: &str) -> Self {
        let (key, id) = (Arc::from(key), shared.next_id());
        let course = shared.fills.add(&key, id);
        Self { shared: Arc::clone(shared), key, id, course }
    }

    /// Whether a purge of the key came since.
    #[cfg(test)]
    pub(super) fn is_purged(&self) -> bool {
        self.course.is_purged()
    }

    /// Makes room for the object and opens a file for it. Waits for the disk.
    ///
    /// # Errors
    /// `TooLarge` if it is larger than the limits allow; `StorageFull` if other fills hold the
    /// room, or the disk is full; `InvalidInput` if there is too much metadata. Then it can only be
    /// passed through.
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
            .map_err(|cause| Error::unexpected("the metadata cannot be written", cause))?;
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

/// An object that is being received. Dropped without a commit, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Filling {
    // In this order they are dropped: the room is free when the file is gone.
    partial: Partial,
    reservation: Reservation,
    fill: Fill,
    meta: EntryMeta,
    layout: Layout,
    sums: Sums,
    /// What origin says of the whole body, and what has been received.
    checks: Vec<(Checksum, Hasher)>,
    written: u64,
    failed: bool,
}

impl Filling {
    /// Whether a purge of the key came since the fill began.
    #[cfg(test)]
    pub(super) fn is_purged(&self) -> bool {
        self.fill.is_purged()
    }

    /// How much has been written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// A reader of what has been written so far. It works on when this is dropped or committed.
    pub(crate) fn tail(&self) -> Tail {
        let buffers = Arc::clone(&self.fill.shared.buffers);
        Tail { file: Arc::clone(&self.partial.file), body: self.layout.body(), buffers }
    }

    /// Takes the next bytes. Once it returns, a [`Tail`] can read them. Waits for the disk.
    ///
    /// # Errors
    /// `Integrity` if there are more than were announced; `StorageFull` and whatever else the disk
    /// says. After an error all that is left to do is to drop it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check_alive()?;
        // Until all is done, it has not succeeded.
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

    /// Makes it an entry, which replaces an older one of the key. If there is one by now whose fill
    /// began later, that one stays and is the answer. Waits for the disk.
    ///
    /// # Errors
    /// `Integrity` if bytes are missing or are not those that origin's checksums tell of;
    /// `Conflict` if the key was purged since the fill began; `StorageFull` and whatever else the
    /// disk says. Nothing is kept then.
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
                    "origin's bytes have the checksum {found}, and not {expected} as origin says"
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
        let course = Arc::clone(&fill.course);
        let _removing = shared.removing();
        let replaced = {
            let _no_purge_now = course.committing();
            if course.is_purged() {
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
                    self.partial.withdraw(&entry);
                    return Ok(newer);
                }
            }
        };
        self.reservation.commit(entry.weight());
        shared.keep_open(&entry, &Arc::new(Handle::new(Arc::clone(&self.partial.file), sums)));
        shared.keep_metadata(&entry, self.meta.clone());
        if let Some(old) = replaced {
            shared.removed(old.weight(), &[old]);
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

/// What is being written, to be read from where it is complete.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    file: Arc<File>,
    body: u64,
    buffers: Arc<Buffers>,
}

impl Tail {
    /// Bytes of the body from a position, at most [`BLOCK`] of them, all of which have been
    /// written. May wait for the disk.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn read(&self, at: u64, len: usize) -> Result<Bytes> {
        let mut buffer = self.buffers.take(len.min(BLOCK));
        sys::read_exact_at(&self.file, buffer.as_mut(), self.body + at)?;
        Ok(buffer.freeze())
    }

    /// The same if it need not wait, as is usual for what has just been written; else `None`.
    pub(crate) fn try_read(&self, at: u64, len: usize) -> Option<Bytes> {
        let mut buffer = self.buffers.take(len.min(BLOCK));
        sys::read_now(&self.file, buffer.as_mut(), self.body + at).then(|| buffer.freeze())
    }
}

/// Bytes of the disk that are held for a fill, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn take(shared: &Arc<Shared>, bytes: u64) -> Result<Self> {
        let full = || {
            Error::new(ErrorKind::StorageFull, "fills under way have been promised all of max_size")
        };
        let _removing = shared.removing();
        let room = shared.index().make_room(bytes).ok_or_else(full)?;
        let reservation = Self { shared: Arc::clone(shared), bytes };
        shared.removed(room.reserved - bytes, &room.left);
        Ok(reservation)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds more bytes.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<()> {
        let mut more = Self::take(&self.shared, bytes)?;
        self.bytes += std::mem::take(&mut more.bytes);
        Ok(())
    }

    /// These bytes are an entry's now.
    fn commit(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.index().release(self.bytes);
    }
}

/// The file of a fill, removed when this is dropped unless it became that of an entry.
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

    /// Removes it again from where it was published.
    fn withdraw(&mut self, entry: &Entry) {
        if let Err(error) = self.shared.directory.remove(entry) {
            tracing::warn!(key = &*escape_invisible(entry.key()), %error, "a file could not be removed from the cache");
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_file(self.shared.directory.fill_file(self.id))
        {
            tracing::warn!(%error, "the file of a fill could not be removed; the next start will try again");
        }
    }
}

/// The checksums of blocks, as bytes pass.
#[derive(Debug)]
struct Sums {
    done: Vec<u64>,
    running: Digest,
    /// How much of the block under way has passed.
    filled: usize,
}

impl Sums {
    fn new(layout: Layout) -> Self {
        // A length is only a claim before the bytes are here; what it may cost in advance is
        // bounded.
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
    fn the_sums_are_those_of_the_blocks_however_the_bytes_are_cut() {
        let body: Vec<_> = (0..BLOCK * 2 + 1000).map(|n| (n % 251) as u8).collect();
        let expected: Vec<_> = body.chunks(BLOCK).map(crc).collect();
        for cut in [7_919, BLOCK - 1, BLOCK, BLOCK + 1, body.len()] {
            let mut sums = Sums::new(Layout::new(4096, body.len() as u64).unwrap());
            body.chunks(cut).for_each(|chunk| sums.update(chunk));
            assert_eq!(*sums.finish(), *expected, "cut into {cut}");
        }
    }
}
