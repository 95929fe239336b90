//! [`MultipartLimits`]: what a backend accepts in multipart uploads.

use crate::error::{Error, ErrorKind, Result};

const MIB: u64 = 1024 * 1024;
/// The part size for an upload of known size, unless that needs larger parts (8 MiB).
const PART_SIZE: u64 = 8 * MIB;
/// The part size for an upload of unknown size (16 MiB).
const PART_SIZE_OF_UNKNOWN: u64 = 16 * MIB;

/// What a backend accepts in multipart uploads, as it is configured.
///
/// Every backend requires that all parts of an upload have one size, except the last one, which may
/// be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultipartLimits {
    /// The smallest part size in bytes. The last part of an upload may be smaller.
    pub min_part_size: u64,
    /// The largest part size in bytes.
    pub max_part_size: u64,
    /// The largest number of parts.
    pub max_parts: u32,
    /// The largest object in bytes.
    pub max_size: u64,
    /// Completion supports [`SaveMode::CreateNew`](crate::SaveMode::CreateNew) without a race.
    pub create_new: bool,
    /// Completion supports [`SaveMode::IfMatch`](crate::SaveMode::IfMatch).
    pub if_match: bool,
    /// Completion verifies the checksum of the whole object, which is composed from the parts.
    pub checksum: bool,
    /// `uploads` lists unfinished uploads.
    pub list: bool,
    /// `part_url` makes signed links.
    pub part_url: bool,
}

impl MultipartLimits {
    /// Creates limits for the size and the number of parts, with every other capability except
    /// links. `max_size` is what these parts can contain together.
    #[must_use]
    pub const fn new(min_part_size: u64, max_part_size: u64, max_parts: u32) -> Self {
        Self {
            min_part_size,
            max_part_size,
            max_parts,
            max_size: max_part_size.saturating_mul(max_parts as u64),
            create_new: true,
            if_match: true,
            checksum: cfg!(feature = "checksums"),
            list: true,
            part_url: false,
        }
    }

    /// Returns the limits of a driver without multipart uploads: no parts.
    #[must_use]
    pub const fn none() -> Self {
        let limits = Self::new(1, 0, 0);
        Self { create_new: false, if_match: false, checksum: false, list: false, ..limits }
    }

    /// Returns a part size for an object of this size: 8 MiB, or the next whole MiB with which the
    /// object fits into the largest number of parts. For an unknown size it is 16 MiB.
    ///
    /// ```
    /// use storage_core::MultipartLimits;
    ///
    /// const MIB: u64 = 1024 * 1024;
    /// let limits = MultipartLimits::new(5 * MIB, 5 * 1024 * MIB, 10_000);
    /// assert_eq!(limits.part_size(Some(1_000))?, 8 * MIB);
    /// assert_eq!(limits.part_size(Some(200_000 * MIB))?, 20 * MIB);
    /// # Ok::<(), storage_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `TooLarge` if the backend cannot store an object of this size. `Unsupported` if the limits
    /// allow no part.
    pub fn part_size(&self, size: Option<u64>) -> Result<u64> {
        self.check_any_part()?;
        let wanted = match size {
            None => PART_SIZE_OF_UNKNOWN,
            Some(size) if size > self.max_size => return Err(self.too_large(size)),
            Some(size) => {
                let needed = size.div_ceil(u64::from(self.max_parts.max(1)));
                PART_SIZE.max(needed.checked_next_multiple_of(MIB).unwrap_or(needed))
            }
        };
        let part_size = wanted.clamp(self.min_part_size, self.max_part_size);
        self.check(part_size, size).map(|()| part_size)
    }

    /// Fails if an upload cannot have this part size and this size.
    ///
    /// # Errors
    /// `InvalidInput` if the part size is outside of the limits, or if the object does not fit into
    /// the largest number of such parts. `TooLarge` if the backend stores no object of this size.
    /// `Unsupported` if the limits allow no part.
    pub fn check(&self, part_size: u64, size: Option<u64>) -> Result<()> {
        self.check_any_part()?;
        let (smallest, largest) = (self.min_part_size.max(1), self.max_part_size);
        if !(smallest..=largest).contains(&part_size) {
            return Err(invalid(format!(
                "a part size of {part_size} bytes is not allowed: this storage has parts of \
                 {smallest} to {largest} bytes"
            )));
        }
        let Some(size) = size else { return Ok(()) };
        if size > self.max_size {
            return Err(self.too_large(size));
        }
        if size.div_ceil(part_size) > u64::from(self.max_parts) {
            return Err(invalid(format!(
                "{size} bytes do not fit into {} parts of {part_size} bytes: choose a larger part \
                 size",
                self.max_parts
            )));
        }
        Ok(())
    }

    /// Fails if the limits allow no part, as those of [`none`](Self::none).
    fn check_any_part(&self) -> Result<()> {
        if self.max_parts > 0 && self.max_part_size >= self.min_part_size.max(1) {
            return Ok(());
        }
        Err(Error::unsupported("this storage has no multipart uploads: its limits allow no part"))
    }

    fn too_large(&self, size: u64) -> Error {
        let message =
            format!("this storage has objects of up to {} bytes, not {size}", self.max_size);
        Error::new(ErrorKind::TooLarge, message)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_size_fits_the_largest_object() {
        for (parts, largest) in [(10_000, 5 << 30), (1, 100), (u32::MAX, u64::MAX)] {
            let limits = MultipartLimits::new(1, largest, parts);
            let part_size = limits.part_size(Some(limits.max_size)).unwrap();
            assert!(limits.max_size.div_ceil(part_size) <= u64::from(parts));
        }
    }

    #[test]
    fn limits_that_allow_no_part_are_unsupported() {
        for limits in [MultipartLimits::none(), MultipartLimits::new(10, 9, 1)] {
            for size in [None, Some(0), Some(1)] {
                let error = limits.part_size(size).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{size:?}");
                assert_eq!(limits.check(1, size).unwrap_err().kind(), ErrorKind::Unsupported);
            }
        }
    }

    #[test]
    fn an_object_that_is_too_large_is_refused() {
        let limits = MultipartLimits::new(1, 10, 3);
        assert_eq!(limits.part_size(Some(30)).unwrap(), 10);
        assert_eq!(limits.part_size(Some(31)).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(limits.check(9, Some(30)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(limits.check(11, None).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(limits.check(0, None).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
