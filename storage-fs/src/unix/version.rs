//! Reads the version of a file from its status.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Stat, Timespec, Timestamps, UTIME_OMIT};
use storage_core::{ETag, Result};

use crate::version::{self, nanos};
pub(crate) use crate::version::{Id, Version, time};

impl Version {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between machines")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            time: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }
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

/// Derives the ETag of a file that another program wrote or changed.
#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between machines")]
pub(crate) fn foreign_etag(stat: &Stat) -> Result<ETag> {
    version::foreign_etag(&Version::of(stat), (stat.st_ctime as i64, stat.st_ctime_nsec as i64))
}
