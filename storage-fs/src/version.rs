//! Telling versions of a file apart: what identifies one, and the ETag that follows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac_sha256::Hash;
use rustix::fs::{Stat, Timespec, Timestamps, UTIME_OMIT};
use storage_core::{ETag, Result};

use crate::staged::hex;

/// Within this time after a change, another one may leave the same times behind (clock ticks are up
/// to 10 ms, some file systems count whole seconds).
const RACY: Duration = Duration::from_secs(2);

/// What tells one version of a file from the next: inode, size, and the time of the last change in
/// nanoseconds.
///
/// A file of ours has its time set to the precise clock when it is staged, while the kernel stamps
/// changes with that of its last tick; so another program's change in place, even one of the same
/// size within the same tick, does not leave the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: i64,
    /// The same time. Nanoseconds in 64 bits end in 2262; file systems go further.
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

/// Returns the time that a file system gives as seconds before or after 1970 and the nanoseconds
/// that follow them. Returns 1970 for a time that this machine cannot represent.
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

/// The times that stamp a staged file: the precise clock's for the last change.
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

/// The ETag of a file that we did not write, or that was changed since: from what the file system
/// tells. Strong once the times are old enough that a further change would show; weak before.
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
        Ok(age) if age > RACY => ETag::strong(opaque),
        _ => ETag::weak(opaque),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_is_counted_backwards_from_it_and_its_fraction_forwards() {
        let half_a_second = Duration::from_millis(500);
        assert_eq!(time(0, 500_000_000), UNIX_EPOCH + half_a_second);
        assert_eq!(time(-1, 500_000_000), UNIX_EPOCH - half_a_second);
        assert_eq!(
            time(-315_619_200, 0),
            storage_core::parse_time("1960-01-01T00:00:00Z").unwrap()
        );
    }

    /// The largest that the system calls can return, and more than 64 bits of nanoseconds hold.
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
