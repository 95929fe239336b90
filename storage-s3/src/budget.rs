//! [`Budget`]: limits the memory of all saves, or of all reads, of a driver.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of bytes that one permit of the semaphore represents (64 KiB).
const UNIT: u64 = 64 * 1024;

/// A number of bytes that can be reserved. Clones share the number.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    total: u32,
}

/// Reserved bytes. Dropping the reservation frees them.
#[derive(Debug)]
pub(crate) struct Reservation {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    /// Creates a budget of this many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = units(bytes).max(1);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits until the bytes are free. Waiting calls are served in order. A request for more than
    /// the total reserves the total.
    pub(crate) async fn reserve(&self, bytes: u64) -> Option<Reservation> {
        let permit = Arc::clone(&self.units).acquire_many_owned(units(bytes).min(self.total)).await;
        // The semaphore is never closed.
        permit.ok().map(|permit| Reservation { _permit: permit })
    }

    /// Reserves the bytes if they are free now.
    pub(crate) fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let permit = Arc::clone(&self.units).try_acquire_many_owned(units(bytes).min(self.total));
        permit.ok().map(|permit| Reservation { _permit: permit })
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT))
        .unwrap_or(u32::MAX)
        .min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX))
}
