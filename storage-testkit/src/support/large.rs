//! A body of 300 MiB that takes no memory, and the watch over whoever keeps it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Result};

use super::content::pattern;
use crate::alone::is_alone;

/// How long the body is: far more than a driver may keep of it.
pub(crate) const LARGE: u64 = 300 * 1024 * 1024;

const CHUNK: usize = 64 * 1024;

/// The most that a process may grow beyond what it may hold of the body, if it does nothing else:
/// buffers, threads and their heaps.
const MOST_GROWN: u64 = 32 * 1024 * 1024;

/// What every driver may hold, as `Harness::holds_at_most` has it by default.
const USUALLY_HELD: u64 = 32 * 1024 * 1024;

/// The most that it may grow where other tests run beside this one.
const MOST_GROWN_IN_COMPANY: u64 = LARGE - MOST_GROWN;

/// Counts the bytes that somebody holds, and looks at the size of the process.
pub(crate) struct Watch {
    held: AtomicU64,
    may_hold: u64,
    size_before: Option<u64>,
    may_grow: u64,
}

impl Watch {
    /// Watches over somebody who may hold so many bytes of the body at one time.
    pub(crate) fn start(may_hold: u64) -> Arc<Self> {
        let may_grow = if is_alone() { may_grow(may_hold) } else { MOST_GROWN_IN_COMPANY };
        Arc::new(Self {
            held: AtomicU64::new(0),
            may_hold,
            size_before: resident_bytes(),
            may_grow,
        })
    }

    /// Fails as soon as too much is kept, before the machine runs out of memory.
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

/// The most that a process may grow whose driver may hold so many bytes of the body.
///
/// A process is larger than what it holds. Bytes that arrive over several connections lie in the
/// buffers they were read into, which are larger than the pieces that are held of them, and the
/// allocator keeps for each thread what was freed after an upload, while a download takes its
/// memory elsewhere. So what exceeds the usual is granted twice. The bound stays below the size of
/// the body, because a driver that keeps the whole body has to be noticed.
fn may_grow(may_hold: u64) -> u64 {
    let twice = may_hold + may_hold.saturating_sub(USUALLY_HELD);
    (twice + MOST_GROWN).min(MOST_GROWN_IN_COMPANY)
}

fn too_much(message: String) -> Error {
    Error::new(ErrorKind::Unexpected, message)
}

/// What the process takes of the machine's memory. Only Linux tells without foreign code.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A window on the shared bytes that is counted as long as somebody holds it.
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

/// Where in the shared bytes a chunk begins: elsewhere for each, so that two in the wrong order are
/// noticed.
fn window(chunk: u64) -> usize {
    (chunk as usize * 17) % CHUNK
}

/// The body, chunk by chunk. It fails once the watch finds too much held.
pub(crate) fn body(watch: Arc<Watch>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::iter(0..LARGE / CHUNK as u64).map(move |chunk| {
        if chunk % 16 == 0 {
            watch.check()?;
        }
        watch.held.fetch_add(CHUNK as u64, Ordering::SeqCst);
        Ok(Bytes::from_owner(Counted { at: window(chunk), watch: Arc::clone(&watch) }))
    })
}

/// Asserts that these are the bytes of the body at a position.
#[track_caller]
pub(crate) fn assert_part(position: u64, mut found: &[u8]) {
    let mut position = position;
    while !found.is_empty() {
        let (chunk, within) = (position / CHUNK as u64, (position % CHUNK as u64) as usize);
        let (part, rest) = found.split_at(found.len().min(CHUNK - within));
        let start = window(chunk) + within;
        assert!(
            part == &shared()[start..start + part.len()],
            "the bytes at position {position} are others"
        );
        (position, found) = (position + part.len() as u64, rest);
    }
}
