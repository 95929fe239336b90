//! [`Spool`]: an object of unknown size, received before it is known whether it can be kept.
//!
//! It takes part in `max_size` like every other fill: room for it is made as it grows.

use storage_core::{Error, ErrorKind, Object, ObjectMeta, Result};

use super::fill::{Partial, Reservation};
use super::layout::{BLOCK, PAGE};
use super::{Store, sys};

/// How much room is made at a time.
const STEP: u64 = 8 * BLOCK as u64;

/// The bytes of an object whose size is not known before its last byte. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Spool {
    // In this order they are dropped: the room is free when the file is gone.
    partial: Partial,
    reservation: Reservation,
    /// The most bytes that an object may have which is kept.
    most: u64,
    written: u64,
}

impl Store {
    /// Begins to receive an object of unknown size. Waits for the disk.
    ///
    /// # Errors
    /// `StorageFull` if other fills hold the room, or the disk is full; what the operating system
    /// says.
    pub(crate) fn spool(&self) -> Result<Spool> {
        let shared = &self.shared;
        let limits = &shared.limits;
        // The object is written once more, into a file with checksums: both have to fit.
        let most = limits.max_object_size.unwrap_or(u64::MAX).min(limits.max_size / 2);
        let reservation = Reservation::take(shared, PAGE as u64)?;
        let partial = Partial::create(shared, shared.next_id())?;
        Ok(Spool { partial, reservation, most, written: 0 })
    }
}

impl Spool {
    /// Takes the next bytes. Waits for the disk.
    ///
    /// # Errors
    /// `TooLarge` if there are more than an object may have that is kept; `StorageFull` if other
    /// fills hold the room, or the disk is full. After an error all that is left to do is to drop
    /// it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.written.saturating_add(bytes.len() as u64);
        if end > self.most {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "the object is larger than max_object_size",
            ));
        }
        let missing = end.next_multiple_of(PAGE as u64).saturating_sub(self.reservation.bytes());
        if missing > 0 {
            self.reservation.grow(missing.max(STEP))?;
        }
        sys::write_all_at(self.partial.file(), bytes, self.written)?;
        self.written = end;
        Ok(())
    }

    /// Returns the object with its size. The file and its room last as long as the body.
    ///
    /// # Errors
    /// What the operating system says about another handle of the file.
    pub(crate) fn into_object(self, mut meta: ObjectMeta) -> Result<Object> {
        meta.size = self.written;
        let file = self.partial.file().try_clone()?;
        Ok(Object::from_file(meta, 0..self.written, file).with_guard(self))
    }
}
