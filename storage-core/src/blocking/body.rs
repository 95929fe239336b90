//! [`BlockingObject`] and [`BlockingEntries`]: streams for synchronous code.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::runtime::Runtime;
use crate::entry::Entry;
use crate::error::Result;
use crate::list::Entries;
use crate::metadata::ObjectMeta;
use crate::object::{Object, ObjectReader};

/// An open object: its metadata, and the bytes of the requested range as a `Read` and `BufRead`.
///
/// Its `io::Error`s contain an [`Error`](crate::Error), which `Error::from` returns.
pub struct BlockingObject {
    runtime: Runtime,
    meta: ObjectMeta,
    range: Range<u64>,
    body: ObjectReader,
}

impl BlockingObject {
    pub(super) fn new(runtime: Runtime, object: Object) -> Self {
        let (meta, range) = (object.meta().clone(), object.range());
        Self { runtime, meta, range, body: object.into_reader() }
    }

    /// Returns the metadata of the whole object.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Returns the positions of the bytes that the body yields.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }
}

impl Read for BlockingObject {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.wait_io(self.body.read(buffer))
    }
}

impl BufRead for BlockingObject {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.runtime.wait_io(self.body.fill_buf())
    }

    fn consume(&mut self, amount: usize) {
        self.body.consume(amount);
    }
}

impl fmt::Debug for BlockingObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingObject")
            .field("meta", &self.meta)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// The entries of a listing: see [`Entries`].
///
/// An error is the last item, unless [`listing_continues`](crate::Error::listing_continues) returns
/// `true`.
#[derive(Debug)]
#[must_use = "nothing is listed until it is iterated"]
pub struct BlockingEntries {
    runtime: Runtime,
    entries: Entries,
    has_ended: bool,
}

impl BlockingEntries {
    pub(super) fn new(runtime: Runtime, entries: Entries) -> Self {
        Self { runtime, entries, has_ended: false }
    }
}

impl Iterator for BlockingEntries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let entry = match self.runtime.wait(self.entries.next()) {
            Ok(entry) => entry,
            Err(error) => {
                self.has_ended = true;
                Some(Err(error))
            }
        };
        self.has_ended |= entry.is_none();
        entry
    }
}
