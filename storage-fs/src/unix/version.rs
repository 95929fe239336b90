//! Versions of a file: what identifies one, and ETags derived from it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac_sha256::Hash;
use rustix::fs::{Stat, Timespec, Timestamps, UTIME_OMIT};
use storage_core::internal::hex;
use storage_core::{ETag, Result};

/// The random id of a staged file (80 bits), which becomes its ETag.
pub(crate) type Id = [u8; 10];

/// Within this time after a change, another change may leave the same times: clock ticks last up to
/// 10 ms, and some file systems store whole seconds.
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
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            time: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }

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

fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Returns times that set the last change of a staged file from the precise clock.
pub(crate) fn precise_times() -> Timestamps {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified = Timespec {
        tv_sec: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: now.subsec_nanos().into(),
    };
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: modified,
    }
}

/// Derives the ETag of a file that another program wrote or changed from its inode, size and times.
/// The ETag is weak until the times are old enough that another change would yield other times.
#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub(crate) fn foreign_etag(stat: &Stat) -> Result<ETag> {
    let version = Version::of(stat);
    let changed = nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64);
    let mut hash = Hash::new();
    for number in [version.inode as i64, version.size as i64, version.modified, changed] {
        hash.update(number.to_le_bytes());
    }
    let opaque = hex(&hash.finalize()[..10]);
    let age =
        SystemTime::now().duration_since(time(stat.st_ctime as i64, stat.st_ctime_nsec as i64));
    match age {
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
