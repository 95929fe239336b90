//! Versions of a file: what identifies a version, and the ETag derived from it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac_sha256::Hash;
use storage_core::internal::hex;
use storage_core::{ETag, Result};

/// The random id of a staged file (80 bits), which becomes its ETag.
pub(crate) type Id = [u8; 10];

/// Within this time after a change, another change may leave the same times, because clock ticks
/// last up to 10 ms, and some file systems store times in steps of 2 s.
const AMBIGUOUS_AGE: Duration = Duration::from_secs(2);

/// Identifies a version of a file: its inode, its size and the time of its last change.
///
/// Staging sets the time of a file from the precise clock, while the kernel stamps later changes
/// with the clock of its last tick. So a change in place by another program yields another version,
/// even if it keeps the size and happens within the same tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// The time of the last change, in nanoseconds since 1970.
    pub(crate) modified: i64,
    /// The same time. `modified` cannot represent times after 2262, but file systems can.
    pub(crate) time: SystemTime,
}

impl Version {
    pub(crate) fn modified_time(&self) -> SystemTime {
        self.time
    }
}

/// Converts a time of a file system: seconds since 1970, which may be negative, plus nanoseconds.
/// Returns 1970 for a time that this machine cannot represent.
pub(crate) fn time(seconds: i64, nanos: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    let nanos = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
    second.and_then(|second| second.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

pub(crate) fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Derives the ETag of a file that another program wrote or changed from its inode, size and times.
/// The ETag is weak until the times are old enough that another change would yield other times.
///
/// `changed` is the time at which the file or its inode last changed: seconds and nanoseconds.
pub(crate) fn foreign_etag(version: &Version, changed: (i64, i64)) -> Result<ETag> {
    let (seconds, nanoseconds) = changed;
    let changed = nanos(seconds, nanoseconds);
    let mut hash = Hash::new();
    for number in
        [version.inode.cast_signed(), version.size.cast_signed(), version.modified, changed]
    {
        hash.update(number.to_le_bytes());
    }
    let opaque = hex(&hash.finalize()[..10]);
    match SystemTime::now().duration_since(time(seconds, nanoseconds)) {
        Ok(age) if age > AMBIGUOUS_AGE => ETag::strong(opaque),
        _ => ETag::weak(opaque),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_has_negative_seconds_and_positive_nanoseconds() {
        let half_a_second = Duration::from_millis(500);
        assert_eq!(time(0, 500_000_000), UNIX_EPOCH + half_a_second);
        assert_eq!(time(-1, 500_000_000), UNIX_EPOCH - half_a_second);
        assert_eq!(
            time(-315_619_200, 0),
            storage_core::parse_time("1960-01-01T00:00:00Z").unwrap()
        );
    }

    /// Includes the largest values of the system calls, and times beyond 64 bits of nanoseconds.
    #[test]
    fn no_time_of_a_file_system_overflows() {
        assert_eq!(
            time(13_569_465_600, 0),
            storage_core::parse_time("2400-01-01T00:00:00Z").unwrap()
        );
        for seconds in [i64::MIN, i64::MAX] {
            for nanoseconds in [i64::MIN, 0, 999_999_999, i64::MAX] {
                let _ = (time(seconds, nanoseconds), nanos(seconds, nanoseconds));
            }
        }
    }
}
