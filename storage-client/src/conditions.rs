//! Converts the range and the conditions of `open` to headers of a request.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use storage_core::{ByteRange, OpenOptions, Result};

use crate::headers::header_value;

/// The last second of the year 9999, since 1970.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// The greatest position in a request, because some servers fail on numbers above `i64::MAX`.
const MAX_POSITION: u64 = i64::MAX as u64;

/// Returns `Range`, `If-Match`, `If-None-Match` and `If-Modified-Since` for the options of an
/// `open`.
///
/// - Positions are at most `i64::MAX`, because some servers cannot read greater ones. No object has
///   bytes there.
/// - `If-Modified-Since` is omitted if there is an `If-None-Match`, because servers must ignore it
///   then (RFC 9110, section 13.1.3). A time that an HTTP date cannot express becomes the nearest
///   one that it can.
///
/// # Errors
/// `InvalidInput` if a header cannot contain an ETag.
pub fn open_headers(options: &OpenOptions) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(6);
    if let Some(range) = options.range {
        headers.insert(RANGE, header_value(&bounded(range).to_string())?);
    }
    if let Some(etag) = &options.if_match {
        headers.insert(IF_MATCH, header_value(&etag.to_string())?);
    }
    if let Some(etag) = &options.if_none_match {
        headers.insert(IF_NONE_MATCH, header_value(&etag.to_string())?);
    } else if let Some(since) = options.if_modified_since {
        let since = since.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_SECOND);
        headers.insert(IF_MODIFIED_SINCE, header_value(&httpdate::fmt_http_date(since))?);
    }
    Ok(headers)
}

/// Limits the positions of a range to those that every server can read.
fn bounded(range: ByteRange) -> ByteRange {
    match range {
        ByteRange::FromTo(from, to) => {
            ByteRange::FromTo(from.min(MAX_POSITION - 1), to.min(MAX_POSITION))
        }
        ByteRange::From(from) => ByteRange::From(from.min(MAX_POSITION)),
        ByteRange::Last(n) => ByteRange::Last(n.min(MAX_POSITION)),
    }
}

#[cfg(test)]
mod tests {
    use storage_core::ETag;

    use super::*;

    fn sent(options: &OpenOptions, name: &str) -> Option<String> {
        let headers = open_headers(options).unwrap();
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn positions_above_the_greatest_signed_number_are_limited() {
        let range = |range: ByteRange| {
            let mut options = OpenOptions::default();
            options.range = Some(range);
            sent(&options, "range").unwrap()
        };
        assert_eq!(range(ByteRange::from(2..5)), "bytes=2-4");
        assert_eq!(range(ByteRange::last(7)), "bytes=-7");
        assert_eq!(range(ByteRange::from(u64::MAX..)), "bytes=9223372036854775807-");
        assert_eq!(range(ByteRange::last(u64::MAX)), "bytes=-9223372036854775807");
        assert_eq!(
            range(ByteRange::from(u64::MAX - 1..u64::MAX)),
            "bytes=9223372036854775806-9223372036854775806"
        );
    }

    #[test]
    fn an_etag_takes_precedence_over_a_time() {
        let mut options = OpenOptions::default();
        options.if_modified_since = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(
            sent(&options, "if-modified-since").as_deref(),
            Some("Sun, 06 Nov 1994 08:49:37 GMT")
        );
        options.if_none_match = Some(ETag::weak("a").unwrap());
        options.if_match = Some(ETag::strong("b").unwrap());
        assert_eq!(sent(&options, "if-modified-since"), None);
        assert_eq!(sent(&options, "if-none-match").as_deref(), Some("W/\"a\""));
        assert_eq!(sent(&options, "if-match").as_deref(), Some("\"b\""));
    }

    #[test]
    fn a_time_that_http_cannot_express_becomes_the_nearest_one() {
        let since = |time| {
            let mut options = OpenOptions::default();
            options.if_modified_since = Some(time);
            sent(&options, "if-modified-since").unwrap()
        };
        let second = Duration::from_secs(1);
        assert_eq!(since(UNIX_EPOCH - second), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(since(UNIX_EPOCH + LAST_SECOND + second * 60), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
