//! [`PartBuffer`]: the bytes of the part that is being gathered, within the budget for memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::budget::{Budget, Reservation};
use super::sending::Memory;

/// How many bytes are reserved at once, at most.
const STEP: u64 = 1 << 20;

/// How long a buffer may keep its room while other requests wait for some.
const HOLD: Duration = Duration::from_secs(2);

/// Bytes that follow each other, and the room that is reserved for them.
#[derive(Debug)]
pub(super) struct PartBuffer {
    budget: Budget,
    bytes: BytesMut,
    /// How many bytes the buffer can need, at most.
    capacity: u64,
    reserved: Option<(Reservation, Instant)>,
    /// The memory of an earlier part. New memory costs more than the copy into it, because the
    /// system clears each page of it.
    spare: Option<(BytesMut, Reservation)>,
}

impl PartBuffer {
    pub(super) fn new(budget: Budget, capacity: u64) -> Self {
        Self { budget, bytes: BytesMut::new(), capacity, reserved: None, spare: None }
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns whether there is room for this many bytes more, and reserves it if possible.
    pub(super) fn has_room(&mut self, more: u64) -> bool {
        let needed = self.len().saturating_add(more);
        let reserved = self.reserved.as_ref().map_or(0, |(reserved, _)| reserved.bytes());
        if needed <= reserved {
            return true;
        }
        let missing = needed - reserved;
        // Doubles, so that the bytes are copied once on average.
        let step = STEP.max(reserved).min(self.capacity.saturating_sub(reserved)).max(missing);
        let budget = &self.budget;
        let mut more = budget.try_reserve(step).or_else(|| budget.try_reserve(missing));
        if more.is_none() && self.spare.take().is_some() {
            more = budget.try_reserve(missing);
        }
        let Some(more) = more else { return false };
        self.add(more);
        true
    }

    /// Waits for room for this many bytes. Only an empty buffer waits, and it holds none before.
    pub(super) async fn wait_for_room(&mut self, bytes: u64) -> storage_core::Result<()> {
        debug_assert!(
            self.bytes.is_empty() && self.spare.is_none(),
            "a buffer that waits keeps room from others"
        );
        self.reserved = None;
        let reserved = self.budget.reserve(bytes.max(STEP.min(self.capacity))).await?;
        self.add(reserved);
        Ok(())
    }

    fn add(&mut self, more: Reservation) {
        match &mut self.reserved {
            Some((reserved, _)) => reserved.merge(more),
            None => self.reserved = Some((more, Instant::now())),
        }
    }

    /// Appends bytes, for which there is room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            // No more than what is reserved: allocators give memory that was used before.
            let reserved = self.reserved.as_ref().map_or(0, |(reserved, _)| reserved.bytes());
            let room = usize::try_from(reserved).unwrap_or(0).saturating_sub(self.bytes.len());
            self.bytes.reserve(room.max(bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the bytes with their room, and leaves an empty buffer.
    pub(super) fn take(&mut self) -> (Bytes, Option<Reservation>) {
        let reserved = self.reserved.take().map(|(reserved, _)| reserved);
        let bytes = std::mem::take(&mut self.bytes).freeze();
        if let Some((spare, room)) = self.spare.take() {
            self.bytes = spare;
            self.reserved = Some((room, Instant::now()));
        }
        (bytes, reserved)
    }

    /// Keeps the memory of a stored part for the next one, unless the driver still has it.
    pub(super) fn reuse(&mut self, memory: Memory) {
        if self.spare.is_none()
            && let Ok(mut bytes) = memory.bytes.try_into_mut()
        {
            bytes.clear();
            self.spare = Some((bytes, memory.reserved));
        }
    }

    /// Frees the memory that is kept for the next part.
    pub(super) fn release_spare(&mut self) {
        self.spare = None;
    }

    /// Returns whether other requests have waited long enough for the room of this buffer.
    pub(super) fn should_yield(&self) -> bool {
        let held = self.reserved.as_ref().map(|(_, since)| since.elapsed());
        held.is_some_and(|held| held >= HOLD) && self.budget.is_wanted()
    }
}
