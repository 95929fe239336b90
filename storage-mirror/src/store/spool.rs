//! [`Spool`]: receives an object of unknown size, before it is known whether it can be stored.
//!
//! Its file counts towards `max_size` like that of every fill. Space is reserved as it grows.

use storage_core::{Error, ErrorKind, Object, ObjectMeta, Result};

use super::fill::{Partial, Reservation};
use super::layout::{BLOCK, PAGE};
use super::{Store, sys};

/// The bytes reserved at a time.
const STEP: u64 = 8 * BLOCK as u64;

/// The file of an object whose size is unknown until its last byte. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Spool {
    // Fields are dropped in this order: the file is removed before its space is released.
    partial: Partial,
    reservation: Reservation,
    /// The maximum size of a stored object in bytes.
    most: u64,
    written: u64,
}

impl Store {
    /// Begins to receive an object of unknown size. Waits for the disk.
    ///
    /// # Errors
    /// `StorageFull` if other fills have reserved the space, or the disk is full. Other errors of
    /// the operating system.
    pub(crate) fn spool(&self) -> Result<Spool> {
        let shared = &self.shared;
        let limits = &shared.limits;
        // The object is later copied into a file with checksums, and both have to fit.
        let most = limits.max_object_size.unwrap_or(u64::MAX).min(limits.max_size / 2);
        let reservation = Reservation::take(shared, PAGE as u64)?;
        let partial = Partial::create(shared, shared.next_id())?;
        Ok(Spool { partial, reservation, most, written: 0 })
    }
}

impl Spool {
    /// Writes the next bytes. Waits for the disk.
    ///
    /// # Errors
    /// `TooLarge` if the object is larger than a stored one may be. `StorageFull` if other fills
    /// have reserved the space, or the disk is full. Drop the spool after an error.
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

    /// Returns the object with its size. The file and its reserved space last until the body is
    /// dropped.
    ///
    /// # Errors
    /// Errors of the operating system about duplicating the file handle.
    pub(crate) fn into_object(self, mut meta: ObjectMeta) -> Result<Object> {
        meta.size = self.written;
        let file = self.partial.file().try_clone()?;
        Ok(Object::from_file(meta, 0..self.written, file).with_guard(self))
    }
}
