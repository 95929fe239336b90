//! Reusable buffers. A block is returned as [`Bytes`]; when the last of them is dropped, its memory
//! becomes a spare buffer, which needs no zeroing.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::layout::BLOCK;

/// The maximum number of spare buffers: 8 MiB in total.
const KEPT: usize = 64;

/// A pool of buffers of one block.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    spare: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    fn lock(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a buffer of length `len`. Its content is unspecified.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        // A slow reader would hold a whole block for a few bytes, so these get their own memory.
        // More than a block is kept, so it gets no spare one.
        if len <= BLOCK / 2 || len > BLOCK {
            return Buffer { memory: vec![0; len].into(), len, home: None };
        }
        let spare = self.lock().pop();
        let memory = spare.unwrap_or_else(|| vec![0; BLOCK].into());
        Buffer { memory, len: len.min(BLOCK), home: Some(Arc::clone(self)) }
    }
}

/// A buffer to read into.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Box<[u8]>,
    len: usize,
    home: Option<Arc<Buffers>>,
}

impl Buffer {
    /// Turns the buffer into shared, immutable bytes.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let mut spare = home.lock();
            if spare.len() < KEPT {
                spare.push(mem::take(&mut self.memory));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reused_when_the_last_bytes_of_it_are_dropped() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take(BLOCK - 1);
        buffer.as_mut().fill(7);
        let bytes = buffer.freeze();
        let (at, part) = (bytes.as_ptr(), bytes.slice(10..20));
        drop(bytes);
        assert_eq!(&part[..], [7; 10]);
        assert_ne!(buffers.take(BLOCK).as_ref().as_ptr(), at, "part of it is still in use");
        buffers.lock().clear();
        drop(part);
        let again = buffers.take(BLOCK);
        assert_eq!((again.as_ref().as_ptr(), again.as_ref().len()), (at, BLOCK));
    }

    #[test]
    fn a_short_piece_does_not_hold_the_memory_of_a_block() {
        let buffers = Arc::new(Buffers::default());
        drop(buffers.take(10).freeze());
        assert!(buffers.lock().is_empty());
    }

    #[test]
    fn the_number_of_spare_buffers_is_bounded() {
        let buffers = Arc::new(Buffers::default());
        let many: Vec<_> = (0..KEPT * 2).map(|_| buffers.take(BLOCK)).collect();
        drop(many);
        assert_eq!(buffers.lock().len(), KEPT);
    }
}
