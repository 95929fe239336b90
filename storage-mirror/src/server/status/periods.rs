//! [`Bucket`]: the days of a period in groups: days, weeks or months, so that a chart has at most
//! about a hundred of them.

use std::collections::BTreeMap;

use super::super::analytics::{Counts, Day, DayTotal, DayTotals};
use super::query::Period;

/// The maximum number of days that are shown as days.
const MAX_DAYS: u32 = 91;
/// The maximum number of weeks that are shown as weeks.
const MAX_WEEKS: u32 = 104;
/// The maximum number of months. Earlier months are not shown.
const MAX_MONTHS: usize = 120;

/// The length of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Day,
    Week,
    Month,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Day => "Day",
            Self::Week => "Week",
            Self::Month => "Month",
        }
    }
}

/// The sum of some consecutive days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    /// The first day.
    pub(super) start: Day,
    pub(super) unit: Unit,
    pub(super) counts: Counts,
}

impl Bucket {
    /// Returns the name of the bucket: "31 January 2025", "week of 31 January 2025",
    /// "January 2025".
    pub(super) fn label(&self) -> String {
        let label = self.start.in_words(self.unit != Unit::Month);
        if self.unit == Unit::Week { format!("week of {label}") } else { label }
    }
}

/// The days of a period.
#[derive(Debug)]
pub(super) struct History {
    pub(super) from: Day,
    pub(super) to: Day,
    /// In ascending order, without gaps. Not empty.
    pub(super) buckets: Vec<Bucket>,
    /// The sum of all buckets.
    pub(super) sum: Counts,
}

impl History {
    pub(super) fn new(totals: &DayTotals, period: Period) -> Self {
        let today = totals.today;
        let days = match period {
            Period::Latest(days) => days,
            Period::All => {
                let first = totals.days.keys().next().copied().unwrap_or(today);
                today.days_since(first).saturating_add(1)
            }
        };
        let buckets = if days <= MAX_DAYS {
            equal(&totals.days, today, Unit::Day, 1, days)
        } else if days <= MAX_WEEKS * 7 {
            equal(&totals.days, today, Unit::Week, 7, days.div_ceil(7))
        } else {
            months(&totals.days, today)
        };
        let mut sum = Counts::default();
        for bucket in &buckets {
            sum.add(&bucket.counts);
        }
        let from = buckets.first().map_or(today, |bucket| bucket.start);
        Self { from, to: today, buckets, sum }
    }
}

/// Returns buckets of equal length. The last one ends with `today`.
fn equal(
    days: &BTreeMap<Day, DayTotal>,
    today: Day,
    unit: Unit,
    length: u32,
    number: u32,
) -> Vec<Bucket> {
    let bucket = |before: u32| {
        let end = today.minus(before * length);
        let start = end.minus(length - 1);
        Bucket { start, unit, counts: sum(days, start, end) }
    };
    (0..number).rev().map(bucket).collect()
}

/// Returns one bucket for each calendar month from the first day to `today`.
fn months(days: &BTreeMap<Day, DayTotal>, today: Day) -> Vec<Bucket> {
    let first = days.keys().next().copied().unwrap_or(today).month();
    let (mut buckets, mut end) = (Vec::new(), today);
    while end >= first && buckets.len() < MAX_MONTHS {
        let start = end.month();
        buckets.push(Bucket { start, unit: Unit::Month, counts: sum(days, start, end) });
        end = start.minus(1);
    }
    buckets.reverse();
    buckets
}

/// Returns the sum of the days from `start` to `end`.
fn sum(days: &BTreeMap<Day, DayTotal>, start: Day, end: Day) -> Counts {
    let mut sum = Counts::default();
    if start <= end {
        for total in days.range(start..=end).map(|(_, total)| total) {
            sum.add(&total.counts);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    /// Returns the sums of this many days up to 2 January 2025, with one request on each.
    fn totals(days: u32) -> DayTotals {
        let today = day("2025-01-02");
        let total = DayTotal { keys: 1, counts: Counts { requests: 1, ..Counts::default() } };
        let days = (0..days).map(|before| (today.minus(before), total)).collect();
        DayTotals { today, days, unread: 0 }
    }

    #[test]
    fn a_period_has_a_bucket_for_each_day_week_or_month() {
        let cases = [
            (Period::Latest(1), 1, Unit::Day, "2025-01-02", 1),
            (Period::Latest(28), 28, Unit::Day, "2024-12-06", 28),
            (Period::Latest(364), 52, Unit::Week, "2024-01-05", 364),
        ];
        // More than two years.
        let many = totals(800);
        for (period, number, unit, from, requests) in cases {
            let history = History::new(&many, period);
            let (first, length) = (&history.buckets[0], history.buckets.len());
            assert_eq!((length, first.unit, first.start), (number, unit, day(from)));
            assert_eq!((history.from, history.sum.requests), (day(from), requests));
        }
        let all = History::new(&many, Period::All);
        assert_eq!((all.buckets.len(), all.sum.requests), (28, 800));
        assert_eq!(all.from, day("2022-10-01"));
        assert_eq!(all.buckets[27].label(), "January 2025");
        // 2022-10-26 is the first day.
        assert_eq!(all.buckets[0].counts.requests, 6);
    }

    #[test]
    fn days_without_requests_have_empty_buckets() {
        let history = History::new(&totals(2), Period::Latest(7));
        let requests: Vec<_> = history.buckets.iter().map(|b| b.counts.requests).collect();
        assert_eq!(requests, [0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(History::new(&totals(0), Period::All).buckets.len(), 1);
    }

    #[test]
    fn a_century_of_days_has_a_bounded_number_of_buckets() {
        assert_eq!(History::new(&totals(36_500), Period::All).buckets.len(), MAX_MONTHS);
    }
}
