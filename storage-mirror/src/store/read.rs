//! Reading entries. Every block is compared with its checksum each time it is read, so that bytes
//! that changed on the disk are never returned.
//!
//! A broken entry is removed from the store at once; the next request for its key fetches it again.
//!
//! Bytes that [`memory`](super::memory) holds are returned without reading or comparing.

use std::fs::File;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use storage_core::internal::escape_invisible;
use storage_core::{Error, ErrorKind, Result};

use super::entry::Entry;
use super::layout::{BLOCK, Broken, Layout, crc};
use super::memory::MAX_IN_MEMORY;
use super::shared::{Shared, Store};
use super::sys;

/// How many bytes of checksums weigh as much as an open file. An object of 1 GiB has this many.
const SUMS_AS_A_FILE: u64 = 64 * 1024;

/// The open file of an entry, and the checksums of its blocks.
#[derive(Debug)]
pub(super) struct Handle {
    file: Arc<File>,
    sums: Box<[u64]>,
}

impl Handle {
    pub(super) fn new(file: Arc<File>, sums: Box<[u64]>) -> Self {
        Self { file, sums }
    }

    fn open(shared: &Shared, entry: &Entry) -> Result<Self, ReadFailure> {
        let layout = entry.layout();
        let file = File::open(shared.directory.entry_file(entry.key(), entry.id()))?;
        let len = usize::try_from(layout.end_len())
            .map_err(|_| Broken("there are more checksums than memory"))?;
        let mut end = vec![0; len];
        sys::read_exact_at(&file, &mut end, layout.end())?;
        let sums = layout.decode_end(&end)?;
        Ok(Self { file: Arc::new(file), sums })
    }

    fn check(&self, index: u64, bytes: &[u8]) -> Result<(), Broken> {
        let sum = usize::try_from(index).ok().and_then(|index| self.sums.get(index));
        if sum == Some(&crc(bytes)) { Ok(()) } else { Err(Broken("a block of the body is broken")) }
    }

    /// Compares consecutive blocks, of which the first has this index.
    fn check_all(&self, first: u64, bytes: &[u8]) -> Result<(), Broken> {
        (first..).zip(bytes.chunks(BLOCK)).try_for_each(|(index, block)| self.check(index, block))
    }
}

/// Why an entry cannot be read.
#[derive(Debug)]
pub(super) enum ReadFailure {
    Broken(Broken),
    Io(io::Error),
}

impl From<Broken> for ReadFailure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<io::Error> for ReadFailure {
    fn from(error: io::Error) -> Self {
        if sys::means_broken(&error) {
            Self::Broken(Broken("the disk cannot read it back"))
        } else {
            Self::Io(error)
        }
    }
}

/// Reads one entry, even if the entry is removed from the store meanwhile.
#[derive(Clone)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    handle: Arc<Handle>,
}

impl Reader {
    /// Returns the open file.
    pub(super) fn file(&self) -> &File {
        &self.handle.file
    }

    /// Returns the number of blocks of [`BLOCK`] bytes. The last block may be shorter.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> u64 {
        self.entry.layout().blocks()
    }

    /// Reads the body from a position to the end of its block, or further, and compares each block
    /// with its checksum. May wait for the disk.
    ///
    /// # Errors
    /// `Integrity` if a block is broken; the entry has then been removed. `RangeNotSatisfiable` if
    /// the body ends before the position.
    pub(crate) fn read_from(&self, position: u64) -> Result<Bytes> {
        match self.read_blocks(position, true)? {
            Some(bytes) => Ok(bytes),
            None => Err(Error::new(ErrorKind::Unexpected, "reading blocks returned no result")),
        }
    }

    /// Reads like [`read_from`](Self::read_from) what is in memory. Returns `None` if that would
    /// have to wait.
    ///
    /// # Errors
    /// As those of [`read_from`](Self::read_from).
    pub(crate) fn try_read_from(&self, position: u64) -> Result<Option<Bytes>> {
        self.read_blocks(position, false)
    }

    fn read_blocks(&self, position: u64, may_wait: bool) -> Result<Option<Bytes>> {
        let layout = self.entry.layout();
        if position >= layout.size() {
            return Err(Error::new(ErrorKind::RangeNotSatisfiable, "the entry has no such block"));
        }
        let block = position / BLOCK as u64;
        if let Some((first, piece)) = self.shared.piece_in_memory(&self.entry, block) {
            return Ok(Some(from_position(&piece, first, position)));
        }
        let piece = self.shared.piece_to_keep(&self.entry, block);
        let blocks = piece.clone().unwrap_or(block..block + 1);
        let (start, end) = (layout.block(blocks.start).start, layout.block(blocks.end - 1).end);
        // At most the bytes of a piece, which fit in `usize`.
        let mut buffer = self.shared.buffers.take((end - start) as usize);
        let at = layout.body() + start;
        if may_wait {
            let read = sys::read_exact_at(&self.handle.file, buffer.as_mut(), at);
            read.map_err(|error| self.shared.handle_failure(&self.entry, error.into()))?;
        } else if !sys::read_now(&self.handle.file, buffer.as_mut(), at) {
            return Ok(None);
        }
        self.handle
            .check_all(blocks.start, buffer.as_ref())
            .map_err(|broken| self.shared.handle_failure(&self.entry, broken.into()))?;
        let bytes = buffer.freeze();
        if piece.is_some() {
            self.shared.keep_piece(&self.entry, blocks.start, &bytes);
        }
        Ok(Some(from_position(&bytes, blocks.start, position)))
    }

    /// Reads one block.
    #[cfg(test)]
    pub(super) fn read_block(&self, index: u64) -> Result<Bytes> {
        let bytes = self.read_from(index.saturating_mul(BLOCK as u64))?;
        Ok(bytes.slice(..bytes.len().min(BLOCK)))
    }

    /// Reads one block, if it is in memory.
    #[cfg(test)]
    pub(super) fn try_read_block(&self, index: u64) -> Result<Option<Bytes>> {
        let bytes = self.try_read_from(index.saturating_mul(BLOCK as u64))?;
        Ok(bytes.map(|bytes| bytes.slice(..bytes.len().min(BLOCK))))
    }

    /// Reads the whole body. Returns `None` if that would have to wait and `may_wait` is false.
    fn read_whole(&self, may_wait: bool) -> Result<Option<Bytes>> {
        let layout = self.entry.layout();
        let mut body = vec![0; whole_len(layout)?];
        if may_wait {
            let read = sys::read_exact_at(&self.handle.file, &mut body, layout.body());
            read.map_err(|error| self.shared.handle_failure(&self.entry, error.into()))?;
        } else if !sys::read_now(&self.handle.file, &mut body, layout.body()) {
            return Ok(None);
        }
        self.handle
            .check_all(0, &body)
            .map_err(|broken| self.shared.handle_failure(&self.entry, broken.into()))?;
        let body = Bytes::from(body);
        self.shared.keep_body(&self.entry, &body);
        Ok(Some(body))
    }
}

/// Returns the part of consecutive blocks from a position of the body on, which is in one of them.
fn from_position(blocks: &Bytes, first: u64, position: u64) -> Bytes {
    blocks.slice((position - first * BLOCK as u64) as usize..)
}

fn whole_len(layout: Layout) -> Result<usize> {
    let len = usize::try_from(layout.size()).ok().filter(|_| layout.size() <= MAX_IN_MEMORY);
    len.ok_or_else(|| {
        Error::new(
            ErrorKind::TooLarge,
            "the body is too large to be read as a whole: read it block by block",
        )
    })
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl Store {
    /// Returns the body if it is in memory. A body read as a whole by [`load`](Self::load) after
    /// its second hit is.
    pub(crate) fn hot(&self, entry: &Entry) -> Option<Bytes> {
        self.shared.body_in_memory(entry)
    }

    /// Reads the whole body of an entry of at most [`MAX_IN_MEMORY`] bytes, and keeps it in memory
    /// if the entry has two hits. May wait for the disk.
    ///
    /// # Errors
    /// `NotFound` if the entry has been removed. `Integrity` if it is broken; it has then been
    /// removed. `TooLarge` if the body is longer.
    pub(crate) fn load(&self, entry: &Arc<Entry>) -> Result<Bytes> {
        match self.reader(entry)?.read_whole(true)? {
            Some(body) => Ok(body),
            None => Err(Error::new(ErrorKind::Unexpected, "reading the body returned no result")),
        }
    }

    /// Reads the body like [`load`](Self::load) if its file is open and the kernel has it in
    /// memory. Returns `None` otherwise.
    ///
    /// # Errors
    /// As those of [`load`](Self::load).
    pub(crate) fn try_load(&self, entry: &Arc<Entry>) -> Result<Option<Bytes>> {
        match self.try_reader(entry) {
            Some(reader) => reader.read_whole(false),
            None => Ok(None),
        }
    }

    /// Returns a reader of an entry. Opens its file unless it is open. May wait for the disk.
    ///
    /// # Errors
    /// `NotFound` if the entry has been removed. `Integrity` if it is broken; it has then been
    /// removed. `Unexpected`, retryable, for other errors, such as too many open files.
    pub(crate) fn reader(&self, entry: &Arc<Entry>) -> Result<Reader> {
        if let Some(reader) = self.try_reader(entry) {
            return Ok(reader);
        }
        let shared = &self.shared;
        let opened = Handle::open(shared, entry);
        let handle = Arc::new(opened.map_err(|failure| shared.handle_failure(entry, failure))?);
        shared.keep_open(entry, &handle);
        Ok(Reader { shared: Arc::clone(shared), entry: Arc::clone(entry), handle })
    }

    /// Returns a reader of an entry whose file is open, and `None` otherwise.
    pub(crate) fn try_reader(&self, entry: &Arc<Entry>) -> Option<Reader> {
        let handle = self.shared.handles.get((entry.id(), 0))?;
        Some(Reader { shared: Arc::clone(&self.shared), entry: Arc::clone(entry), handle })
    }
}

impl Shared {
    /// Keeps a file open, unless its entry has been removed: then the last reader closes it, which
    /// frees its space.
    pub(super) fn keep_open(&self, entry: &Entry, handle: &Arc<Handle>) {
        // The checksums of a large object count as further files, so that those of all open files
        // take no more memory than `SUMS_AS_A_FILE` times the limit.
        let sums = handle.sums.len() as u64 * 8 / SUMS_AS_A_FILE;
        let weight = (1 + sums).min(self.limits.open_files.max(1));
        self.handles.insert((entry.id(), 0), Arc::clone(handle), weight);
        if entry.is_gone() {
            self.release_file(entry);
        }
    }

    pub(super) fn release_file(&self, entry: &Entry) {
        self.handles.remove((entry.id(), 0));
    }

    /// Removes an entry that is broken or has no file, and returns the error for the caller.
    pub(super) fn handle_failure(&self, entry: &Entry, failure: ReadFailure) -> Error {
        match failure {
            ReadFailure::Broken(Broken(what)) => {
                tracing::warn!(
                    key = &*escape_invisible(entry.key()),
                    what,
                    "an entry of the cache is broken and is removed"
                );
                self.remove_corrupt(entry);
                Error::new(ErrorKind::Integrity, what)
            }
            ReadFailure::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                // This store removed the file, or another program did.
                self.forget(entry);
                Error::not_found()
            }
            ReadFailure::Io(error) => {
                Error::unexpected("the cache cannot be read", error).with_retryable(true)
            }
        }
    }
}
