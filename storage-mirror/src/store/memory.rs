//! Bodies and pieces of bodies in memory, each compared with its checksums when it was read.
//!
//! Small bodies are held as a whole, those of larger objects in pieces, if the object takes at most
//! a quarter of the memory limit: so one large object does not evict everything else. Bytes in
//! memory are not compared again and do not depend on the file.
//!
//! A piece has several blocks, because a larger write to a socket costs less for each byte. All
//! readers share it, so that it takes no more memory than its blocks would.

use std::ops::Range;

use bytes::Bytes;

use super::entry::Entry;
use super::layout::BLOCK;
use super::pool;
use super::shared::Shared;

/// The largest body in bytes that is held in memory as a whole.
pub(crate) const MAX_IN_MEMORY: u64 = 2 * BLOCK as u64;

/// The number of blocks of a piece, which has 512 KiB.
const PIECE: u64 = 4;

/// How many hits an entry needs before its bytes are held in memory.
const TAKEN_WITH_HIT: u64 = 2;

/// The divisor that gives the part of the memory limit that one object may take.
const SHARE: u64 = 4;

impl Shared {
    pub(super) fn body_in_memory(&self, entry: &Entry) -> Option<Bytes> {
        if entry.size() > MAX_IN_MEMORY {
            return None;
        }
        self.memory.get((entry.id(), 0))
    }

    /// Returns the piece that contains a block, if it is in memory, and its first block.
    pub(super) fn piece_in_memory(&self, entry: &Entry, block: u64) -> Option<(u64, Bytes)> {
        if !self.keeps_pieces_of(entry) {
            return None;
        }
        let piece = block / PIECE;
        Some((piece * PIECE, self.memory.get((entry.id(), piece))?))
    }

    /// Returns the blocks of the piece with a block, if pieces of the entry are to be kept.
    pub(super) fn piece_to_keep(&self, entry: &Entry, block: u64) -> Option<Range<u64>> {
        let first = block / PIECE * PIECE;
        let is_kept = entry.hits() >= TAKEN_WITH_HIT && self.keeps_pieces_of(entry);
        is_kept.then(|| first..(first + PIECE).min(entry.layout().blocks()))
    }

    pub(super) fn keep_body(&self, entry: &Entry, body: &Bytes) {
        if entry.hits() >= TAKEN_WITH_HIT {
            self.keep(entry, 0, body, body.len());
        }
    }

    /// Keeps the piece that has this first block.
    pub(super) fn keep_piece(&self, entry: &Entry, first: u64, bytes: &Bytes) {
        self.keep(entry, first / PIECE, bytes, bytes.len());
    }

    fn keeps_pieces_of(&self, entry: &Entry) -> bool {
        (MAX_IN_MEMORY + 1..=self.limits.memory / SHARE).contains(&entry.size())
    }

    fn keep(&self, entry: &Entry, index: u64, bytes: &Bytes, weight: usize) {
        self.memory.insert((entry.id(), index), bytes.clone(), weight as u64 + pool::OVERHEAD);
        // The task that removed the entry may have cleared the pool before this insertion.
        if entry.is_gone() {
            self.memory.remove((entry.id(), index));
        }
    }

    pub(super) fn release_bytes(&self, entry: &Entry) {
        let is_in_pieces = self.keeps_pieces_of(entry);
        let parts = if is_in_pieces { entry.layout().blocks().div_ceil(PIECE) } else { 1 };
        (0..parts).for_each(|index| self.memory.remove((entry.id(), index)));
    }
}
