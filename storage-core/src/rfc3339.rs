//! RFC 3339: times as text. The feature `dates` adds offsets from UTC and times before 1970.

use std::time::SystemTime;
#[cfg(feature = "dates")]
use std::time::UNIX_EPOCH;

#[cfg(feature = "dates")]
use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};

use crate::error::BoxError;

/// Reads a time.
#[cfg(feature = "dates")]
pub fn parse(text: &str) -> Result<SystemTime, BoxError> {
    let since = DateTime::parse_from_rfc3339(text)?.signed_duration_since(DateTime::UNIX_EPOCH);
    let time = match since.to_std() {
        Ok(after) => UNIX_EPOCH.checked_add(after),
        Err(_) => UNIX_EPOCH.checked_sub((-since).to_std()?),
    };
    time.ok_or_else(|| "the clock of this system cannot represent the time".into())
}

/// Reads a time in UTC.
#[cfg(not(feature = "dates"))]
pub fn parse(text: &str) -> Result<SystemTime, BoxError> {
    Ok(humantime::parse_rfc3339(text)?)
}

/// Writes a time in UTC.
///
/// # Errors
/// If it lies outside the years 0 to 9999 (RFC 3339, section 1).
#[cfg(feature = "dates")]
pub(crate) fn format(time: SystemTime) -> Result<String, BoxError> {
    let time = to_utc(time).filter(|time| (0..=9999).contains(&time.year()));
    let time = time.ok_or("the time is outside the years 0 to 9999")?;
    Ok(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Returns `None` for a time outside the calendar. The conversion of chrono panics there.
#[cfg(feature = "dates")]
pub(crate) fn to_utc(time: SystemTime) -> Option<DateTime<Utc>> {
    let epoch = DateTime::UNIX_EPOCH;
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => epoch.checked_add_signed(TimeDelta::from_std(after).ok()?),
        Err(before) => epoch.checked_sub_signed(TimeDelta::from_std(before.duration()).ok()?),
    }
}

/// Writes a time in UTC.
///
/// # Errors
/// If it lies before 1970 or after 9999.
#[cfg(not(feature = "dates"))]
pub(crate) fn format(time: SystemTime) -> Result<String, BoxError> {
    use std::fmt::Write;

    // humantime panics for an earlier time.
    time.duration_since(std::time::UNIX_EPOCH)?;
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339(time))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_in_utc_is_read_back_as_it_was_written() {
        for time in [
            UNIX_EPOCH,
            UNIX_EPOCH + Duration::from_secs(1_796_083_200),
            UNIX_EPOCH + Duration::new(1_796_083_200, 123_456_789),
            UNIX_EPOCH + Duration::from_millis(1_500),
        ] {
            assert_eq!(parse(&format(time).unwrap()).unwrap(), time);
        }
    }

    #[test]
    fn a_text_that_is_not_a_time_is_an_error() {
        for text in ["", "2026", "tomorrow", "2026-13-01T00:00:00Z", "2026-12-01T00:00:00"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[cfg(feature = "dates")]
    #[test]
    fn a_time_before_1970_is_read_back_as_it_was_written() {
        let time = UNIX_EPOCH - Duration::new(1_000_000_000, 500_000_000);
        assert_eq!(format(time).unwrap(), "1938-04-24T22:13:19.500Z");
        assert_eq!(parse("1938-04-24T22:13:19.500Z").unwrap(), time);
    }

    #[cfg(feature = "dates")]
    #[test]
    fn a_time_with_an_offset_is_the_same_time_in_utc() {
        assert_eq!(
            parse("2026-12-01T01:30:00+01:30").unwrap(),
            parse("2026-12-01T00:00:00Z").unwrap()
        );
    }

    #[test]
    fn a_time_that_rfc_3339_cannot_write_is_an_error() {
        // The year 10000, and years far beyond any calendar.
        for seconds in [253_402_300_800, 1 << 55] {
            assert!(format(UNIX_EPOCH + Duration::from_secs(seconds)).is_err(), "{seconds}");
        }
        assert!(format(UNIX_EPOCH - Duration::from_secs(1 << 55)).is_err());
    }
}
