//! [`Batch`]: records in memory, as they are written to a file, and sorted.

use std::io::Cursor;

use storage_core::Result;

use super::frame::{Frame, read_frame, write_frame};
use super::record::Record;

/// Records in one buffer. It needs no allocation a record, so that its memory is known.
#[derive(Debug, Default)]
pub(super) struct Batch {
    frames: Vec<u8>,
    positions: Vec<Position>,
}

/// Where a record is in the buffer.
#[derive(Debug, Clone, Copy)]
struct Position {
    start: usize,
    len: u32,
    key_len: u32,
}

impl Position {
    fn key<'a>(&self, frames: &'a [u8]) -> &'a [u8] {
        let key = self.start + 8;
        &frames[key..key + self.key_len as usize]
    }

    fn frame<'a>(&self, frames: &'a [u8]) -> &'a [u8] {
        &frames[self.start..self.start + self.len as usize]
    }
}

impl Batch {
    pub(super) fn push(&mut self, record: &impl Record) -> Result<()> {
        let start = self.frames.len();
        let len = write_frame(record, &mut self.frames)?;
        // A frame has at most 32 MiB.
        let (len, key_len) = (len as u32, record.sort_key().len() as u32);
        self.positions.push(Position { start, len, key_len });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The memory of the records, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.frames.len() + self.positions.len() * size_of::<Position>()
    }

    /// Sorts the records by key, and keeps the last of equal ones.
    pub(super) fn sort(&mut self) {
        let frames = &self.frames;
        // The later record first, because `dedup_by` keeps the first.
        self.positions
            .sort_unstable_by(|a, b| a.key(frames).cmp(b.key(frames)).then(b.start.cmp(&a.start)));
        self.positions.dedup_by(|later, first| later.key(frames) == first.key(frames));
    }

    /// Returns the frames in the order of the records.
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.positions.iter().map(|position| position.frame(&self.frames))
    }

    pub(super) fn into_reader(self) -> BatchReader {
        BatchReader { batch: self, next: 0 }
    }
}

/// Reads a sorted batch.
#[derive(Debug)]
pub(super) struct BatchReader {
    batch: Batch,
    next: usize,
}

impl BatchReader {
    pub(super) fn next(&mut self) -> std::io::Result<Option<Frame>> {
        let Some(position) = self.batch.positions.get(self.next) else { return Ok(None) };
        self.next += 1;
        read_frame(&mut Cursor::new(position.frame(&self.batch.frames)))
    }
}
