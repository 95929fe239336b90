//! [`Merge`]: one sorted sequence of several.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::BufReader;

use storage_core::Result;

use super::batch::BatchReader;
use super::frame::Frame;
use super::run::{file_error, read_record};

/// Sorted records, in memory or in a file.
#[derive(Debug)]
pub(super) enum Source {
    Memory(BatchReader),
    File(BufReader<File>),
}

impl Source {
    fn next(&mut self) -> Result<Option<Frame>> {
        match self {
            Self::Memory(reader) => reader.next().map_err(file_error),
            Self::File(reader) => read_record(reader),
        }
    }
}

/// The records of several sources in byte order. Of equal keys it keeps that of the last source.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<Source>,
    heads: BinaryHeap<Head>,
}

impl Merge {
    /// Begins to merge sources, older ones first.
    pub(super) fn new(sources: Vec<Source>) -> Result<Self> {
        let heads = BinaryHeap::with_capacity(sources.len());
        let mut merge = Self { sources, heads };
        for source in 0..merge.sources.len() {
            merge.advance(source)?;
        }
        Ok(merge)
    }

    /// Returns the next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        let Some(Head { frame, source }) = self.heads.pop() else { return Ok(None) };
        self.advance(source)?;
        // The newest source comes first: what follows with an equal key is older.
        while let Some(older) = self.heads.peek().filter(|head| head.frame.key() == frame.key()) {
            let source = older.source;
            self.heads.pop();
            self.advance(source)?;
        }
        Ok(Some(frame))
    }

    fn advance(&mut self, source: usize) -> Result<()> {
        if let Some(frame) = self.sources[source].next()? {
            self.heads.push(Head { frame, source });
        }
        Ok(())
    }
}

/// The next record of a source. The greatest in a heap is the one with the least key.
#[derive(Debug)]
struct Head {
    frame: Frame,
    source: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.frame.key().cmp(self.frame.key()).then(self.source.cmp(&other.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
