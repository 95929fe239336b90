//! Reading: every block is compared with its checksum each time, so that a byte that flipped on the
//! disk is never handed out.
//!
//! What is found broken leaves the store right then, so that the next who asks fetches it again.
//!
//! A part of what is asked for again is kept in memory (see [`memory`](super::memory)), which costs
//! no reading and no comparing.

use std::fs::File;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use storage_core::{Error, ErrorKind, Result};

use super::Shared;
use super::buffers::Buffer;
use super::entry::Entry;
use super::layout::{BLOCK, Broken, Layout, crc};
use super::memory::MAX_IN_MEMORY;
use super::sys;

/// How many bytes of checksums weigh as much as an open file: those of an object of a gigabyte.
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

    fn open(shared: &Shared, entry: &Entry) -> Result<Self, Trouble> {
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

    /// Compares consecutive blocks, of which the first is at the beginning of the body.
    fn check_all(&self, bytes: &[u8]) -> Result<(), Broken> {
        (0..).zip(bytes.chunks(BLOCK)).try_for_each(|(index, block)| self.check(index, block))
    }
}

/// Why an entry cannot be read.
#[derive(Debug)]
pub(super) enum Trouble {
    Broken(Broken),
    Io(io::Error),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if sys::means_broken(&error) {
            Self::Broken(Broken("the disk cannot read it back"))
        } else {
            Self::Io(error)
        }
    }
}

/// Reads one entry, whatever becomes of it in the store meanwhile.
#[derive(Clone)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    handle: Arc<Handle>,
}

impl Reader {
    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.handle.file
    }

    /// How many blocks of [`BLOCK`] bytes there are; the last may be shorter.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> u64 {
        self.entry.layout().blocks()
    }

    /// A whole block of [`BLOCK`] bytes (the last one may be shorter), compared with its checksum.
    /// May wait for the disk.
    ///
    /// # Errors
    /// `Integrity` if it is broken: the entry has left the store then. `RangeNotSatisfiable` if
    /// there is no such block.
    pub(crate) fn read_block(&self, index: u64) -> Result<Bytes> {
        if let Some(block) = self.shared.block_in_memory(&self.entry, index) {
            return Ok(block);
        }
        let (mut buffer, at) = self.buffer(index)?;
        match sys::read_exact_at(&self.handle.file, buffer.as_mut(), at) {
            Ok(()) => self.checked(index, buffer),
            Err(error) => Err(self.shared.trouble(&self.entry, error.into())),
        }
    }

    /// The same if the block is in memory; `None` if it would have to wait.
    ///
    /// # Errors
    /// As [`read_block`](Self::read_block).
    pub(crate) fn try_read_block(&self, index: u64) -> Result<Option<Bytes>> {
        if let Some(block) = self.shared.block_in_memory(&self.entry, index) {
            return Ok(Some(block));
        }
        let (mut buffer, at) = self.buffer(index)?;
        if !sys::read_now(&self.handle.file, buffer.as_mut(), at) {
            return Ok(None);
        }
        self.checked(index, buffer).map(Some)
    }

    fn buffer(&self, index: u64) -> Result<(Buffer, u64)> {
        let layout = self.entry.layout();
        let block = layout.block(index);
        if block.is_empty() {
            return Err(Error::new(ErrorKind::RangeNotSatisfiable, "the entry has no such block"));
        }
        // At most a block, which fits in memory.
        let len = (block.end - block.start) as usize;
        Ok((self.shared.buffers.take(len), layout.body() + block.start))
    }

    fn checked(&self, index: u64, buffer: Buffer) -> Result<Bytes> {
        match self.handle.check(index, buffer.as_ref()) {
            Ok(()) => {
                let block = buffer.freeze();
                self.shared.keep_block(&self.entry, index, &block);
                Ok(block)
            }
            Err(broken) => Err(self.shared.trouble(&self.entry, broken.into())),
        }
    }

    /// The whole body, unless reading would have to wait and that is not wanted.
    fn read_whole(&self, may_wait: bool) -> Result<Option<Bytes>> {
        let layout = self.entry.layout();
        let mut body = vec![0; whole_len(layout)?];
        if may_wait {
            let read = sys::read_exact_at(&self.handle.file, &mut body, layout.body());
            read.map_err(|error| self.shared.trouble(&self.entry, error.into()))?;
        } else if !sys::read_now(&self.handle.file, &mut body, layout.body()) {
            return Ok(None);
        }
        self.handle
            .check_all(&body)
            .map_err(|broken| self.shared.trouble(&self.entry, broken.into()))?;
        let body = Bytes::from(body);
        self.shared.keep_body(&self.entry, &body);
        Ok(Some(body))
    }
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

impl super::Store {
    /// The body, if it is in memory: those that were read as a whole and are asked for again.
    pub(crate) fn hot(&self, entry: &Entry) -> Option<Bytes> {
        self.shared.body_in_memory(entry)
    }

    /// The whole body of an entry of at most [`MAX_IN_MEMORY`] bytes. With its second hit it is
    /// taken into memory. May wait for the disk.
    ///
    /// # Errors
    /// `NotFound` if it has left the store; `Integrity` if it is broken, and then it has left too;
    /// `TooLarge`.
    pub(crate) fn load(&self, entry: &Arc<Entry>) -> Result<Bytes> {
        match self.reader(entry)?.read_whole(true)? {
            Some(body) => Ok(body),
            None => Err(Error::new(ErrorKind::Unexpected, "reading ended without an answer")),
        }
    }

    /// The same if nothing has to be waited for: its file is open, and the kernel has it in memory.
    /// Else `None`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn try_load(&self, entry: &Arc<Entry>) -> Result<Option<Bytes>> {
        match self.try_reader(entry) {
            Some(reader) => reader.read_whole(false),
            None => Ok(None),
        }
    }

    /// A reader of an entry. Opens its file, unless that is open; may wait for the disk.
    ///
    /// # Errors
    /// `NotFound` if it has left the store; `Integrity` if it is broken, and then it has left too;
    /// `Unexpected`, to be tried again, if there are too many open files.
    pub(crate) fn reader(&self, entry: &Arc<Entry>) -> Result<Reader> {
        if let Some(reader) = self.try_reader(entry) {
            return Ok(reader);
        }
        let shared = &self.shared;
        let opened = Handle::open(shared, entry);
        let handle = Arc::new(opened.map_err(|trouble| shared.trouble(entry, trouble))?);
        shared.keep_open(entry, &handle);
        Ok(Reader { shared: Arc::clone(shared), entry: Arc::clone(entry), handle })
    }

    /// A reader of an entry whose file is open; `None` if it is not.
    pub(crate) fn try_reader(&self, entry: &Arc<Entry>) -> Option<Reader> {
        let handle = self.shared.handles.get((entry.id(), 0))?;
        Some(Reader { shared: Arc::clone(&self.shared), entry: Arc::clone(entry), handle })
    }
}

impl Shared {
    /// Keeps a file open, unless its entry is gone: then its space is to be free when its last
    /// reader is done.
    pub(super) fn keep_open(&self, entry: &Entry, handle: &Arc<Handle>) {
        // The checksums of a large object are counted as if they were files: so those of all that
        // are open together take no more memory than `SUMS_AS_A_FILE` times the limit.
        let sums = handle.sums.len() as u64 * 8 / SUMS_AS_A_FILE;
        let weight = (1 + sums).min(self.limits.open_files.max(1));
        self.handles.insert((entry.id(), 0), Arc::clone(handle), weight);
        if entry.is_gone() {
            self.let_go_of_file(entry);
        }
    }

    pub(super) fn let_go_of_file(&self, entry: &Entry) {
        self.handles.remove((entry.id(), 0));
    }

    /// What trouble with reading an entry means for it, and what to tell.
    pub(super) fn trouble(&self, entry: &Entry, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Broken(Broken(what)) => {
                tracing::warn!(
                    key = entry.key(),
                    what,
                    "an entry of the cache is broken, and is removed"
                );
                self.remove_corrupt(entry);
                Error::new(ErrorKind::Integrity, what)
            }
            Trouble::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                // Removed by us, or by somebody who cleared up.
                self.forget(entry);
                Error::not_found()
            }
            Trouble::Io(error) => {
                Error::unexpected("the cache cannot be read", error).with_retryable(true)
            }
        }
    }
}
