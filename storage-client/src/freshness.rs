//! Reads the freshness of a response: `Age`, `Date` and `Vary`.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, DATE, VARY};
use storage_core::ResponseMeta;

use crate::headers::http_date;

/// Upper bound for an age in seconds (RFC 9111, section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// Returns the age and the date of a response, and whether `Vary` forbids its reuse. `elapsed` is
/// the time since its request was sent.
///
/// The age is the `corrected_age_value` of RFC 9111, section 4.2.3: the `Age` header and the
/// elapsed time. It does not depend on `Date`, because the clocks of server and client may differ
/// (`docs/decisions/0069`). A response without a valid `Date` is dated by its receipt (RFC 9110,
/// section 6.6.1).
#[must_use]
pub fn response_meta(headers: &HeaderMap, elapsed: Duration) -> ResponseMeta {
    let date = http_date(headers, &DATE).unwrap_or_else(SystemTime::now);
    let mut response = ResponseMeta::new(age(headers).saturating_add(elapsed), date);
    let vary =
        headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    response.varies_always = vary.map(<[u8]>::trim_ascii).any(|name| name == b"*");
    response
}

/// Returns the value of `Age`. The first of several values counts. A value that is not a number
/// counts as absent, and a greater number than 2^31 as 2^31 (RFC 9111, sections 1.2.2 and 5.1).
fn age(headers: &HeaderMap) -> Duration {
    let first = headers
        .get(AGE)
        .and_then(|value| value.to_str().ok()?.split(',').next())
        .unwrap_or_default()
        .trim();
    if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) {
        return Duration::ZERO;
    }
    // Digits alone fail to parse only if they are too many.
    Duration::from_secs(first.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::{HeaderName, HeaderValue};

    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> ResponseMeta {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        response_meta(&headers, Duration::from_secs(1))
    }

    fn age_of(pairs: &[(&'static str, &'static str)]) -> u64 {
        of(pairs).age.as_secs() - 1
    }

    #[test]
    fn the_age_of_a_response_is_its_age_header_and_the_time_since_the_request() {
        assert_eq!(of(&[("age", "59")]).age, Duration::from_secs(60));
        assert_eq!(of(&[]).age, Duration::from_secs(1));
    }

    #[test]
    fn the_first_of_several_ages_counts() {
        assert_eq!(age_of(&[("age", "7200, 0")]), 7200);
        assert_eq!(age_of(&[("age", "0, 7200")]), 0);
        assert_eq!(age_of(&[("age", "7"), ("age", "8")]), 7);
    }

    #[test]
    fn an_age_that_is_not_a_whole_number_counts_as_absent() {
        for value in ["-1", "+1", "7200.0", "\"7\"", "7;x", "0x7", ""] {
            assert_eq!(age_of(&[("age", value)]), 0, "{value:?}");
        }
    }

    #[test]
    fn a_greater_age_than_2_to_the_31_is_2_to_the_31() {
        for value in ["2147483649", "18446744073709551615", "99999999999999999999999999"] {
            assert_eq!(age_of(&[("age", value)]), MAX_SECONDS, "{value}");
        }
    }

    #[test]
    fn a_date_of_another_clock_is_the_base_for_expires_and_adds_no_age() {
        let response = of(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(response.date, UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(response.age, Duration::from_secs(1));
    }

    #[test]
    fn a_response_without_a_valid_date_is_dated_by_its_receipt() {
        let before = SystemTime::now();
        for headers in [&[][..], &[("date", "yesterday")]] {
            assert!(of(headers).date >= before, "{headers:?}");
        }
    }

    #[test]
    fn a_star_in_any_value_of_vary_forbids_reuse() {
        assert!(of(&[("vary", "*")]).varies_always);
        assert!(of(&[("vary", "Origin, *")]).varies_always);
        assert!(of(&[("vary", "Origin"), ("vary", " * ")]).varies_always);
        assert!(!of(&[("vary", "Accept-Encoding, Origin")]).varies_always);
        assert!(!of(&[]).varies_always);
    }
}
