//! [`Budget`]: the memory for bytes that are not stored yet, shared by all uploads of a service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of reservations, in bytes.
const UNIT: u64 = 1024;

/// The memory for bytes of uploads. An upload that waits for room holds none, so that the others
/// can always continue.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// One permit for each KiB.
    room: Arc<Semaphore>,
    kib: u32,
    waiting: Arc<AtomicUsize>,
}

/// Room for some bytes. Dropping it gives the room back.
#[derive(Debug)]
pub(super) struct Reservation {
    permits: OwnedSemaphorePermit,
}

/// Counts a request that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Budget {
    pub(super) fn new(kib: u32) -> Self {
        let room = Arc::new(Semaphore::new(kib as usize));
        Self { room, kib, waiting: Arc::default() }
    }

    /// Returns room for these bytes, or `None` if there is not enough.
    pub(super) fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let kib = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        let permits = Arc::clone(&self.room).try_acquire_many_owned(kib).ok()?;
        Some(Reservation { permits })
    }

    /// Waits for room. The caller holds none. More than the whole budget is reduced to it, so that
    /// a part that is larger is gathered alone.
    pub(super) async fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let kib = bytes.div_ceil(UNIT).min(u64::from(self.kib));
        let kib = u32::try_from(kib).unwrap_or(self.kib);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let permits = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let permits =
            permits.map_err(|cause| Error::unexpected("the budget for memory is closed", cause))?;
        Ok(Reservation { permits })
    }

    /// Returns the whole budget in bytes.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.kib) * UNIT
    }

    /// Returns whether another request waits for room.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Reservation {
    pub(super) fn bytes(&self) -> u64 {
        self.permits.num_permits() as u64 * UNIT
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.permits.merge(other.permits);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_the_whole_budget_is_reserved_alone() {
        let budget = Budget::new(4);
        let all = budget.reserve(1 << 30).await.unwrap();
        assert_eq!((all.bytes(), budget.try_reserve(1).is_none()), (4 * UNIT, true));
        drop(all);
        assert!(budget.try_reserve(4 * UNIT).is_some());
    }

    #[tokio::test]
    async fn a_request_that_waits_is_counted_until_it_is_dropped() {
        let budget = Budget::new(1);
        let held = budget.try_reserve(1).unwrap();
        let mut waits = Box::pin(budget.reserve(1));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert!(budget.is_wanted());
        drop(waits);
        assert!(!budget.is_wanted());
        drop(held);
    }
}
