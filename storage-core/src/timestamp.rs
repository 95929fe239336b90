//! Times as text: RFC 3339 in JSON and configuration, HTTP dates in headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind, Result};
use crate::rfc3339;

/// The last second before 9999-12-30T22:00:00Z. HTTP can write a day more (a year has four digits:
/// RFC 9110, section 5.6.7), but not every offset from UTC could.
const LAST_SECOND: u64 = 253_402_207_199;

/// Parses an HTTP date (RFC 9110, section 5.6.7: `Tue, 01 Dec 2026 00:00:00 GMT`) or an RFC 3339
/// time (`2026-12-01T00:00:00Z`). Offsets from UTC need the feature `dates`.
///
/// # Errors
/// `InvalidInput` if it is neither.
///
/// ```
/// let a = storage_core::parse_time("Tue, 01 Dec 2026 00:00:00 GMT")?;
/// assert_eq!(a, storage_core::parse_time("2026-12-01T00:00:00Z")?);
/// # Ok::<(), storage_core::Error>(())
/// ```
pub fn parse_time(text: &str) -> Result<SystemTime> {
    if let Ok(time) = httpdate::parse_http_date(text) {
        return Ok(time);
    }
    rfc3339::parse(text).map_err(|cause| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("{text:?} is neither an HTTP date nor an RFC 3339 time"),
        )
        .with_source(cause)
    })
}

/// Formats a time as RFC 3339 in UTC, with as many fractional digits as it has. Returns
/// `out of range` for a time outside the years 0 to 9999, or without the feature `dates`, outside
/// 1970 to 9999.
///
/// ```
/// assert_eq!(storage_core::format_time(std::time::UNIX_EPOCH), "1970-01-01T00:00:00Z");
/// ```
#[must_use]
pub fn format_time(time: SystemTime) -> String {
    // No file system and no server uses years outside of 0..=9999.
    rfc3339::format(time).unwrap_or_else(|_| "out of range".to_owned())
}

/// Returns the whole seconds since 1970, and 0 for an earlier time.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the start of the second that a time lies in, also before 1970: a time as HTTP and many
/// listings contain it.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let second = storage_core::internal::floor_to_second;
/// assert_eq!(second(UNIX_EPOCH + Duration::from_millis(1_500)), UNIX_EPOCH + Duration::from_secs(1));
/// assert_eq!(second(UNIX_EPOCH - Duration::from_millis(1_500)), UNIX_EPOCH - Duration::from_secs(2));
/// ```
#[must_use]
pub fn floor_to_second(time: SystemTime) -> SystemTime {
    let fraction = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.subsec_nanos(),
        Err(before) => (1_000_000_000 - before.duration().subsec_nanos()) % 1_000_000_000,
    };
    // The first time of every system is a whole second, so the subtraction does not underflow.
    time.checked_sub(Duration::from_nanos(fraction.into())).unwrap_or(time)
}

/// The last second that HTTP can express: 9999-12-31T23:59:59Z. Servers send it for "never".
const LAST_HTTP_SECOND: u64 = 253_402_300_799;

/// Cuts a time to whole seconds, as `Expires` is sent. The last day of HTTP becomes the last second
/// that can be stored.
pub(crate) fn whole_seconds(time: SystemTime) -> Result<SystemTime> {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs())
        .ok()
        .filter(|&s| s <= LAST_HTTP_SECOND);
    let seconds = seconds.map(|seconds| seconds.min(LAST_SECOND));
    seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            "expires: the time must lie between 1970 and the last days of 9999",
        )
    })
}

/// The last day of HTTP cannot be written in every offset from UTC; it is written as the second
/// before it.
fn storable(time: SystemTime) -> SystemTime {
    let is_last_day =
        time.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() <= LAST_HTTP_SECOND);
    if is_last_day { time.min(UNIX_EPOCH + Duration::from_secs(LAST_SECOND)) } else { time }
}

/// For `#[serde(with = "timestamp::option")]`.
pub(crate) mod option {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => match crate::rfc3339::format(super::storable(*time)) {
                Ok(text) => serializer.serialize_some(&text),
                // A text that cannot be parsed again is not written.
                Err(error) => Err(serde::ser::Error::custom(error)),
            },
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse_time(&text).map_err(de::Error::custom)).transpose()
    }
}
