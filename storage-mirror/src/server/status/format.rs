//! Formats numbers for people.

use super::super::price::Price;

/// Formats a number with commas: `12,345`.
pub(super) fn count(number: u64) -> String {
    with_commas(&number.to_string())
}

/// Formats a number of bytes in decimal units, with three digits: `12.4 GB`.
pub(super) fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        // From 999.5 on, three digits would round up to 1000.
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{} {unit}", three_digits(value)) }
}

/// Formats a share as a percentage: `94.2 %`. Only all is 100 %, and only nothing is 0 %.
pub(super) fn percent(part: u64, all: u64) -> String {
    if all == 0 {
        return "–".to_owned();
    }
    let percentage = 100.0 * share(part, all);
    match percentage {
        0.0 => "0 %".to_owned(),
        p if p < 0.1 => "< 0.1 %".to_owned(),
        p if p >= 99.95 && part < all => "99.9 %".to_owned(),
        100.0 => "100 %".to_owned(),
        p => format!("{p:.1} %"),
    }
}

/// Returns a share from 0 to 1.
pub(super) fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// Formats what a number of bytes costs: `$1,234.56`, or `1,234.56 EUR`.
pub(super) fn money(price: &Price, bytes: u64) -> String {
    amount(&price.currency, &format!("{:.2}", price.of(bytes)))
}

/// Formats the price of a GB.
pub(super) fn price_per_gb(price: &Price) -> String {
    amount(&price.currency, &price.per_gb.to_string())
}

fn amount(currency: &str, number: &str) -> String {
    let number = match number.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", with_commas(whole)),
        None => with_commas(number),
    };
    if currency.chars().any(char::is_alphabetic) {
        format!("{number} {currency}")
    } else {
        format!("{currency}{number}")
    }
}

/// Formats a duration: `12 days 3 h`, `3 h 20 min`, `20 min`.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        (1, _) => format!("1 day {hours} h"),
        _ => format!("{} days {hours} h", count(days)),
    }
}

fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    with_commas(&format!("{value:.decimals$}"))
}

/// Separates thousands of a number. A fraction of up to three digits is unchanged.
fn with_commas(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut grouped = String::with_capacity(number.len() + number.len() / 3);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_decimal_units() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (53_687_091_200, "53.7 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn only_all_is_a_hundred_percent_and_only_nothing_is_zero() {
        let cases = [
            (0, 0, "–"),
            (0, 9, "0 %"),
            (1, 1_000_000, "< 0.1 %"),
            (1, 3, "33.3 %"),
            (999_999, 1_000_000, "99.9 %"),
            (7, 7, "100 %"),
        ];
        for (part, all, text) in cases {
            assert_eq!(percent(part, all), text);
        }
    }

    #[test]
    fn a_symbol_precedes_an_amount_and_a_name_follows_it() {
        let money =
            |currency, bytes| money(&Price::new(Some(0.09), currency).unwrap().unwrap(), bytes);
        assert_eq!(money("$", 12_345_678_000_000_000), "$1,111,111.02");
        assert_eq!(money("EUR", 1_000_000_000), "0.09 EUR");
        let price = Price::new(Some(1200.085), "€").unwrap().unwrap();
        assert_eq!(price_per_gb(&price), "€1,200.085");
    }

    #[test]
    fn durations_and_numbers_are_readable() {
        assert_eq!(
            [59, 3_660, 90_061, 200_000].map(span),
            ["0 min", "1 h 1 min", "1 day 1 h", "2 days 7 h"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
