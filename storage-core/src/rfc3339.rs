//! RFC 3339: times as text. The feature `dates` adds offsets from UTC and times before 1970.

use std::time::SystemTime;

use crate::error::BoxError;

/// Reads a time.
#[cfg(feature = "dates")]
pub(crate) fn parse(text: &str) -> Result<SystemTime, BoxError> {
    Ok(SystemTime::from(text.parse::<jiff::Timestamp>()?))
}

/// Reads a time in UTC.
#[cfg(not(feature = "dates"))]
pub(crate) fn parse(text: &str) -> Result<SystemTime, BoxError> {
    Ok(humantime::parse_rfc3339(text)?)
}

/// Writes a time in UTC.
///
/// # Errors
/// If it lies outside the years -9999 to 9999.
#[cfg(feature = "dates")]
pub(crate) fn format(time: SystemTime) -> Result<String, BoxError> {
    Ok(jiff::Timestamp::try_from(time)?.to_string())
}

/// Writes a time in UTC.
///
/// # Errors
/// If it lies before 1970 or after 9999.
#[cfg(not(feature = "dates"))]
pub(crate) fn format(time: SystemTime) -> Result<String, BoxError> {
    use std::fmt::Write;

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
}
