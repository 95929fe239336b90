//! What is kept in memory: bodies and blocks that were compared with their checksums and are asked
//! for again.
//!
//! Small bodies as a whole, those of larger objects block by block, as long as the object is small
//! beside the memory there is: what streams through does not push out the rest. A byte that flips
//! on the disk meanwhile is no concern of theirs.

use bytes::Bytes;

use super::Shared;
use super::entry::Entry;
use super::layout::BLOCK;
use super::pool;

/// The largest body that is kept in memory as a whole.
pub(crate) const MAX_IN_MEMORY: u64 = 2 * BLOCK as u64;

/// With which hit of its entry something is taken into memory.
const TAKEN_WITH_HIT: u64 = 2;

/// Which part of the memory one object may take.
const SHARE: u64 = 4;

impl Shared {
    pub(super) fn body_in_memory(&self, entry: &Entry) -> Option<Bytes> {
        if entry.size() > MAX_IN_MEMORY {
            return None;
        }
        self.memory.get((entry.id(), 0))
    }

    pub(super) fn block_in_memory(&self, entry: &Entry, index: u64) -> Option<Bytes> {
        if !self.keeps_blocks_of(entry) {
            return None;
        }
        self.memory.get((entry.id(), index))
    }

    pub(super) fn keep_body(&self, entry: &Entry, body: &Bytes) {
        if entry.hits() >= TAKEN_WITH_HIT {
            self.keep(entry, 0, body, body.len());
        }
    }

    pub(super) fn keep_block(&self, entry: &Entry, index: u64, block: &Bytes) {
        if entry.hits() >= TAKEN_WITH_HIT && self.keeps_blocks_of(entry) {
            // The last one may be in a buffer that is longer than it.
            self.keep(entry, index, block, BLOCK);
        }
    }

    fn keeps_blocks_of(&self, entry: &Entry) -> bool {
        (MAX_IN_MEMORY + 1..=self.limits.memory / SHARE).contains(&entry.size())
    }

    fn keep(&self, entry: &Entry, index: u64, bytes: &Bytes, weight: usize) {
        self.memory.insert((entry.id(), index), bytes.clone(), weight as u64 + pool::OVERHEAD);
        // Whoever let it go may have come before.
        if entry.is_gone() {
            self.memory.remove((entry.id(), index));
        }
    }

    pub(super) fn let_go_of_bytes(&self, entry: &Entry) {
        let parts = if self.keeps_blocks_of(entry) { entry.layout().blocks() } else { 1 };
        (0..parts).for_each(|index| self.memory.remove((entry.id(), index)));
    }
}
