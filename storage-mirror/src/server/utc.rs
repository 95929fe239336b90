//! Calendar times of the status page and of the access log.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// Converts a time to UTC, in whole seconds. A time before 1970 or outside the calendar becomes the
/// first second of 1970.
pub(super) fn to_utc(time: SystemTime) -> DateTime<Utc> {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(seconds).unwrap_or_default();
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}
