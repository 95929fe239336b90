//! [`Bodies`]: the bytes of all objects, computed from number and position.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// The bytes that the objects have in common, which repeat.
const PATTERN: usize = 64 * 1024;
/// The distance between the marks of number and position, in bytes.
const BLOCK: u64 = 4096;

/// The bytes of all objects: a random pattern, in which every 4 KiB the number of the object and
/// the position are written. So bytes of another object, position or seed are wrong bytes, and the
/// others cost one copy in memory.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    seed: u64,
    pattern: Arc<[u8]>,
}

impl Bodies {
    pub(crate) fn new(seed: u64) -> Self {
        let words = (0..PATTERN as u64 / 8).flat_map(|word| mix(seed ^ mix(word)).to_le_bytes());
        Self { seed, pattern: words.collect() }
    }

    /// Returns the bytes of a range, in chunks.
    pub(crate) fn chunks(
        self,
        number: u64,
        mut range: Range<u64>,
    ) -> impl Iterator<Item = Bytes> + Send + 'static {
        std::iter::from_fn(move || {
            if range.is_empty() {
                return None;
            }
            let end = range.end.min((range.start / PATTERN as u64 + 1) * PATTERN as u64);
            let chunk = self.chunk(number, range.start..end);
            range.start = end;
            Some(chunk)
        })
    }

    /// Returns a range that lies within one repetition of the pattern.
    fn chunk(&self, number: u64, range: Range<u64>) -> Bytes {
        let begin = range.start - range.start % PATTERN as u64;
        // Both are at most the size of the pattern.
        let within = (range.start - begin) as usize..(range.end - begin) as usize;
        let mut bytes = BytesMut::from(&self.pattern[within.clone()]);
        let mut block = range.start - range.start % BLOCK;
        while block < range.end {
            for (at, byte) in (block..).zip(self.mark(number, block)) {
                if range.contains(&at) {
                    bytes[(at - range.start) as usize] = byte;
                }
            }
            block += BLOCK;
        }
        bytes.freeze()
    }

    fn mark(&self, number: u64, block: u64) -> impl Iterator<Item = u8> {
        let object = mix(self.seed ^ mix(number));
        [object, mix(object ^ block)].into_iter().flat_map(u64::to_le_bytes)
    }
}

/// Returns a number whose bits all depend on all bits of another one (the finaliser of splitmix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
