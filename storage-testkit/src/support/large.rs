//! A body of 300 MiB that shares its memory, and a check of how much of it a driver holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Result};

use super::content::pattern;
use crate::own_process::is_own_process;

/// Size of the body. A driver may hold only a small part of it.
pub(crate) const LARGE: u64 = 300 * 1024 * 1024;

const CHUNK: usize = 64 * 1024;

/// Upper bound for the growth of a process beyond the bytes of the body that it may hold: buffers,
/// threads and their heaps.
const MAX_GROWTH: u64 = 32 * 1024 * 1024;

/// The default of `Harness::max_body_memory`.
const DEFAULT_BODY_MEMORY: u64 = 32 * 1024 * 1024;

/// Upper bound for the growth of a process that runs other tests as well.
const MAX_GROWTH_WITH_OTHER_TESTS: u64 = LARGE - MAX_GROWTH;

/// Counts the bytes that a driver holds, and measures the process.
pub(crate) struct Watch {
    held: AtomicU64,
    may_hold: u64,
    size_before: Option<u64>,
    may_grow: u64,
}

impl Watch {
    /// Creates a watch with an upper bound for the bytes held at a time.
    pub(crate) fn start(may_hold: u64) -> Arc<Self> {
        let may_grow =
            if is_own_process() { may_grow(may_hold) } else { MAX_GROWTH_WITH_OTHER_TESTS };
        Arc::new(Self {
            held: AtomicU64::new(0),
            may_hold,
            size_before: resident_bytes(),
            may_grow,
        })
    }

    /// Fails if the driver holds too much, before the machine runs out of memory.
    pub(crate) fn check(&self) -> Result<()> {
        let held = self.held.load(Ordering::SeqCst);
        if held > self.may_hold {
            return Err(too_much(format!("{held} bytes of the body are held in memory")));
        }
        match (self.size_before, resident_bytes()) {
            (Some(before), Some(now)) if now > before + self.may_grow => {
                Err(too_much(format!("the process grew by {} bytes", now - before)))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the upper bound for the growth of a process whose driver may hold this many bytes of the
/// body.
///
/// A process grows by more than the driver holds: read buffers are larger than the slices of them
/// that are held, and the allocator keeps freed memory for each thread. The bytes above the default
/// therefore count twice. The bound is always below the size of the body, so that a driver that
/// holds the whole body fails.
fn may_grow(may_hold: u64) -> u64 {
    let twice = may_hold + may_hold.saturating_sub(DEFAULT_BODY_MEMORY);
    (twice + MAX_GROWTH).min(MAX_GROWTH_WITH_OTHER_TESTS)
}

fn too_much(message: String) -> Error {
    Error::new(ErrorKind::Unexpected, message)
}

/// Returns the resident memory of the process, in bytes. Only Linux states it without `unsafe`
/// code.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A part of the shared bytes, which counts as held until it is dropped.
struct Counted {
    at: usize,
    watch: Arc<Watch>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &shared()[self.at..self.at + CHUNK]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.watch.held.fetch_sub(CHUNK as u64, Ordering::SeqCst);
    }
}

fn shared() -> &'static [u8] {
    static SHARED: OnceLock<Bytes> = OnceLock::new();
    SHARED.get_or_init(|| pattern(5, 2 * CHUNK))
}

/// Returns the start of a chunk in the shared bytes. It differs between consecutive chunks, so that
/// a wrong order is detected.
fn window(chunk: u64) -> usize {
    (chunk as usize * 17) % CHUNK
}

/// Returns the body in chunks. It fails if the driver holds too much.
pub(crate) fn body(watch: Arc<Watch>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::iter(0..LARGE / CHUNK as u64).map(move |chunk| {
        if chunk % 16 == 0 {
            watch.check()?;
        }
        watch.held.fetch_add(CHUNK as u64, Ordering::SeqCst);
        Ok(Bytes::from_owner(Counted { at: window(chunk), watch: Arc::clone(&watch) }))
    })
}

/// Asserts that the bytes are those of the body at a position.
#[track_caller]
pub(crate) fn assert_part(position: u64, mut found: &[u8]) {
    let mut position = position;
    while !found.is_empty() {
        let (chunk, within) = (position / CHUNK as u64, (position % CHUNK as u64) as usize);
        let (part, rest) = found.split_at(found.len().min(CHUNK - within));
        let start = window(chunk) + within;
        assert!(
            part == &shared()[start..start + part.len()],
            "the bytes at position {position} differ"
        );
        (position, found) = (position + part.len() as u64, rest);
    }
}
