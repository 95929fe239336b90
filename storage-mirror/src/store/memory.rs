//! Bodies and blocks in memory, each compared with its checksum when it was read.
//!
//! Small bodies are held as a whole, those of larger objects block by block, if the object takes at
//! most a quarter of the memory limit: so one large object does not evict everything else. Bytes in
//! memory are not compared again and do not depend on the file.

use bytes::Bytes;

use super::entry::Entry;
use super::layout::BLOCK;
use super::pool;
use super::shared::Shared;

/// The largest body in bytes that is held in memory as a whole.
pub(crate) const MAX_IN_MEMORY: u64 = 2 * BLOCK as u64;

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
            // The buffer of the last block may be longer than the block.
            self.keep(entry, index, block, BLOCK);
        }
    }

    fn keeps_blocks_of(&self, entry: &Entry) -> bool {
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
        let parts = if self.keeps_blocks_of(entry) { entry.layout().blocks() } else { 1 };
        (0..parts).for_each(|index| self.memory.remove((entry.id(), index)));
    }
}
