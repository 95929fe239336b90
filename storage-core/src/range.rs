//! [`ByteRange`]: the bytes of an object to open.

use std::fmt;
use std::ops::{Range, RangeFrom, RangeInclusive, RangeTo};

use crate::error::{Error, ErrorKind, Result};

/// A range of an object's bytes (RFC 9110, section 14.1.2).
///
/// Positions are bytes of the stored representation, counted from 0. An end past the last byte
/// means the end of the object. A start past the last byte is `RangeNotSatisfiable`, and so is any
/// range of an empty object.
///
/// ```
/// use storage_core::ByteRange;
///
/// assert_eq!(ByteRange::from(2..5).resolve(10)?, 2..5);
/// assert_eq!(ByteRange::from(2..).resolve(10)?, 2..10);
/// assert_eq!(ByteRange::last(3).resolve(10)?, 7..10);
/// assert_eq!(ByteRange::from(2..99).resolve(10)?, 2..10);
/// assert!(ByteRange::from(10..).resolve(10).is_err());
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteRange {
    /// From the first position to the second, which is not included.
    FromTo(u64, u64),
    /// From the position to the end.
    From(u64),
    /// This many bytes at the end; all of them if there are fewer.
    Last(u64),
}

impl ByteRange {
    /// Returns the range of the last `n` bytes.
    #[must_use]
    pub fn last(n: u64) -> Self {
        Self::Last(n)
    }

    /// Refuses an empty range.
    ///
    /// # Errors
    /// `InvalidInput`, because HTTP cannot express an empty range.
    pub fn validated(self) -> Result<Self> {
        match self {
            Self::FromTo(from, to) if from >= to => Err(empty_range()),
            Self::Last(0) => Err(empty_range()),
            _ => Ok(self),
        }
    }

    /// Returns the positions in an object of this size; never an empty range.
    ///
    /// # Errors
    /// `RangeNotSatisfiable` if the range has no byte in common with the object.
    pub fn resolve(self, size: u64) -> Result<Range<u64>> {
        let range = match self {
            Self::FromTo(from, to) => from..to.min(size),
            Self::From(from) => from..size,
            Self::Last(n) => size.saturating_sub(n)..size,
        };
        if range.is_empty() {
            return Err(Error::new(
                ErrorKind::RangeNotSatisfiable,
                format!("the range {self} has no byte in common with an object of {size} bytes"),
            ));
        }
        Ok(range)
    }
}

fn empty_range() -> Error {
    Error::new(ErrorKind::InvalidInput, "the range is empty: it needs at least one byte")
}

/// As in a `Range` header: `bytes=0-499`, `bytes=500-`, `bytes=-200`.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTo(from, to) => write!(f, "bytes={from}-{}", to.saturating_sub(1)),
            Self::From(from) => write!(f, "bytes={from}-"),
            Self::Last(n) => write!(f, "bytes=-{n}"),
        }
    }
}

impl From<Range<u64>> for ByteRange {
    fn from(range: Range<u64>) -> Self {
        Self::FromTo(range.start, range.end)
    }
}

impl From<RangeInclusive<u64>> for ByteRange {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::FromTo(*range.start(), range.end().saturating_add(1))
    }
}

impl From<RangeTo<u64>> for ByteRange {
    fn from(range: RangeTo<u64>) -> Self {
        Self::FromTo(0, range.end)
    }
}

impl From<RangeFrom<u64>> for ByteRange {
    fn from(range: RangeFrom<u64>) -> Self {
        Self::From(range.start)
    }
}
