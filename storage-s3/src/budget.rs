//! [`Budget`]: how much memory all saves, or all reads, of a driver may hold together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit of the semaphore stands for.
const UNIT: u64 = 64 * 1024;

/// Room for bytes, shared by everything that buffers parts.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    total: u32,
}

/// Room that is taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = units(bytes).max(1);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits until there is room; whoever asks first gets it first. Who asks for more than there is
    /// gets all.
    pub(crate) async fn wait(&self, bytes: u64) -> Option<Room> {
        let permit = Arc::clone(&self.units).acquire_many_owned(units(bytes).min(self.total)).await;
        // The semaphore is never closed.
        permit.ok().map(|permit| Room { _permit: permit })
    }

    /// Room, if there is some at once.
    pub(crate) fn now(&self, bytes: u64) -> Option<Room> {
        let permit = Arc::clone(&self.units).try_acquire_many_owned(units(bytes).min(self.total));
        permit.ok().map(|permit| Room { _permit: permit })
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT))
        .unwrap_or(u32::MAX)
        .min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX))
}
