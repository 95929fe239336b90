//! [`Day`]: a day in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{Datelike, Days, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use storage_core::{Error, ErrorKind, Result};

use crate::server::utc::to_utc;

const DAY: u64 = 24 * 60 * 60;

/// A day in UTC, written as `2025-01-31`.
///
/// ```
/// use storage_mirror::Day;
///
/// let day: Day = "2025-01-31".parse()?;
/// assert_eq!(day.to_string(), "2025-01-31");
/// assert!("31.1.2025".parse::<Day>().is_err());
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(NaiveDate);

impl Day {
    pub(super) fn of(time: SystemTime) -> Self {
        Self(to_utc(time).date_naive())
    }

    /// Returns the day that is a number of days earlier. Stops at the first day of the calendar.
    pub(crate) fn minus(self, days: u32) -> Self {
        Self(self.0.checked_sub_days(Days::new(days.into())).unwrap_or(NaiveDate::MIN))
    }

    /// Returns the number of days from an earlier day to this one, or 0 if it is not earlier.
    pub(crate) fn days_since(self, earlier: Self) -> u32 {
        let days = (self.0 - earlier.0).num_days();
        u32::try_from(days).unwrap_or_default()
    }

    /// Returns the first day of the month.
    pub(crate) fn month(self) -> Self {
        Self(self.0.with_day(1).unwrap_or(self.0))
    }

    /// Writes the day as in "31 January 2025", or the month as in "January 2025".
    pub(crate) fn in_words(self, has_day: bool) -> String {
        self.0.format(if has_day { "%-d %B %Y" } else { "%B %Y" }).to_string()
    }

    /// Returns the time until the next midnight.
    pub(super) fn left(time: SystemTime) -> Duration {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Duration::from_secs(DAY - since % DAY)
    }
}

impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let day = text.parse::<NaiveDate>().ok();
        let day = day.filter(|day| (0..=9999).contains(&day.year())).map(Self);
        // Only this format is accepted, because it also names the files.
        day.filter(|day| day.to_string() == text).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is not a day; write it as in \"2025-01-31\""),
            )
        })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_utc() {
        let midnight = UNIX_EPOCH + Duration::from_secs(1_735_776_000);
        let before = midnight - Duration::from_millis(1);
        assert_eq!((Day::of(before).to_string(), Day::of(midnight).to_string()), {
            ("2025-01-01".to_owned(), "2025-01-02".to_owned())
        });
        assert!(before + Day::left(before) >= midnight);
        assert_eq!(Day::left(midnight), Duration::from_secs(DAY));
    }

    #[test]
    fn only_the_format_of_the_file_names_is_parsed_as_a_day() {
        for text in [
            "",
            "2025-1-1",
            "20250101",
            "2025-02-30",
            "2025-01-01T00:00:00",
            "+002025-01-01",
            "+10000-01-01",
            "-0001-01-01",
            "../2025-01-01",
        ] {
            assert_eq!(text.parse::<Day>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
