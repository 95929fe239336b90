//! Reads and writes single headers. All drivers use these functions, so that all interpret a header
//! in the same way.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use storage_core::{ETag, Error, ErrorKind, ObjectMeta, Result};

/// Converts text to the value of a header.
///
/// # Errors
/// `InvalidInput` if the text contains an ASCII control character other than a tab.
pub fn header_value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|cause| {
        Error::new(ErrorKind::InvalidInput, "a header cannot contain this value").with_source(cause)
    })
}

/// Converts the value of a header to text. Control characters become spaces, and surrounding white
/// space is removed.
///
/// Bytes that are not UTF-8 are read as Latin-1, in which each byte is a character.
#[must_use]
pub fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => without_controls(text),
        Err(_) => without_controls(&latin_1(value)),
    }
}

/// Returns the length of the body from `Content-Length`.
///
/// Returns `None` if the header is absent, is not a number, or is [`ObjectMeta::UNKNOWN_SIZE`], and
/// if the response has a `Transfer-Encoding`, which overrides the length (RFC 9112, section 6.3).
#[must_use]
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    parse_size(headers.get(CONTENT_LENGTH)?.to_str().ok()?)
}

/// Returns the positions of the body, end excluded, and the size of the whole object: `bytes
/// 0-99/1234` is `(0..100, 1234)` (RFC 9110, section 14.4).
///
/// Returns `None` if a part is absent, not a number, or contradicts another part.
#[must_use]
pub fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let (positions, whole) = content_range_parts(headers)?;
    let (first, last) = positions.split_once('-')?;
    let (first, last, size) = (number(first)?, number(last)?, parse_size(whole)?);
    let end = last.checked_add(1)?;
    (first < end && end <= size).then_some((first..end, size))
}

/// Returns the size of the whole object from `Content-Range`, regardless of the positions: `bytes
/// */1234` in a 416 response, and the invalid positions that some services send for an empty
/// object. Returns `None` if the size is absent or not a number.
#[must_use]
pub fn content_range_size(headers: &HeaderMap) -> Option<u64> {
    parse_size(content_range_parts(headers)?.1)
}

fn content_range_parts(headers: &HeaderMap) -> Option<(&str, &str)> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')
}

/// Returns the positions of the bytes that a response contains, and the size of the whole object:
/// from `Content-Range` of a 206, from `Content-Length` of any other response.
///
/// Returns `None` if the headers do not state both, or if the length of a 206 contradicts its
/// range.
#[must_use]
pub fn received_range(status: StatusCode, headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let length = content_length(headers);
    if status != StatusCode::PARTIAL_CONTENT {
        return length.map(|size| (0..size, size));
    }
    content_range(headers)
        .filter(|(range, _)| length.is_none_or(|length| length == range.end - range.start))
}

/// Returns the `ETag` of a response. See [`parse_etag`].
///
/// Returns `None` for a value that is not UTF-8, because it could not be sent back byte for byte.
#[must_use]
pub fn etag(headers: &HeaderMap) -> Option<ETag> {
    parse_etag(std::str::from_utf8(headers.get(ETAG)?.as_bytes()).ok()?)
}

/// Reads an ETag from a header or a document. Quotes may be omitted, as some documents do.
///
/// Returns `None` for text that is not an entity tag (RFC 9110, section 8.8.3), and for an empty
/// tag, which some servers send if they have none.
#[must_use]
pub fn parse_etag(text: &str) -> Option<ETag> {
    text.trim().parse().ok().filter(|etag: &ETag| !etag.opaque().is_empty())
}

/// Returns a date of a response, in any of the forms of RFC 9110, section 5.6.7. Returns `None` if
/// it is absent or invalid.
#[must_use]
pub fn http_date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    parse_date(headers.get(name)?)
}

/// Returns how long a server asks a client to wait: `Retry-After` in seconds or as a date (RFC
/// 9110, section 10.2.3).
///
/// Returns `None` if the header is absent or invalid, and for a date that has passed.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    match value.to_str().ok().and_then(|text| number(text.trim())) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => parse_date(value)?.duration_since(SystemTime::now()).ok(),
    }
}

fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

/// Reads the size of an object. Returns `None` if the text contains anything but digits, and for
/// [`ObjectMeta::UNKNOWN_SIZE`], which no object has.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    number(text).filter(|size| *size != ObjectMeta::UNKNOWN_SIZE)
}

/// Reads a number that consists of digits. `parse` alone would accept a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub(crate) fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

pub(crate) fn without_controls(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use http::header::LAST_MODIFIED;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_content_range_without_sense_is_ignored() {
        let range =
            |text: &'static str| content_range(&headers(&[("content-range", text.as_bytes())]));
        assert_eq!(range("bytes 2-4/10"), Some((2..5, 10)));
        assert_eq!(range("bytes 0-0/1"), Some((0..1, 1)));
        for odd in [
            "bytes 4-2/10",
            "bytes 2-10/10",
            "bytes */10",
            "bytes 2-4/*",
            "2-4/10",
            "bytes -1-4/10",
            "bytes +1-4/10",
            "bytes 2-4/+10",
            "bytes 2-/10",
            "bytes -4/10",
            "bytes 2-4/",
            "bytes 0-18446744073709551615/0",
            "bytes 0-1/18446744073709551615",
            // The position after the last byte is no number.
            "bytes 0-18446744073709551615/18446744073709551615",
            "bytes 2-18446744073709551615/18446744073709551615",
        ] {
            assert_eq!(range(odd), None, "{odd}");
        }
    }

    #[test]
    fn the_size_of_the_whole_is_read_whatever_the_positions_are() {
        let size = |text: &'static str| {
            content_range_size(&headers(&[("content-range", text.as_bytes())]))
        };
        assert_eq!(size("bytes */1234"), Some(1234));
        assert_eq!(size("bytes 0-18446744073709551615/0"), Some(0));
        assert_eq!(size("bytes 0-1/*"), None);
        assert_eq!(size("bytes 0-1/18446744073709551615"), None);
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_ignored() {
        assert_eq!(content_length(&headers(&[("content-length", b"5")])), Some(5));
        assert_eq!(
            content_length(&headers(&[
                ("content-length", b"5"),
                ("transfer-encoding", b"chunked")
            ])),
            None
        );
    }

    #[test]
    fn a_length_that_is_not_a_size_is_ignored() {
        for odd in [&b"+5"[..], b"-5", b"5, 5", b"", b"0x5", b"18446744073709551615"] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, HeaderValue::from_bytes(odd).unwrap());
            assert_eq!(content_length(&headers), None, "{odd:?}");
        }
    }

    #[test]
    fn the_received_range_is_that_of_the_whole_unless_the_response_is_partial() {
        let pairs: &[(&str, &[u8])] =
            &[("content-length", b"3"), ("content-range", b"bytes 2-4/10")];
        let headers = headers(pairs);
        assert_eq!(received_range(StatusCode::OK, &headers), Some((0..3, 3)));
        assert_eq!(received_range(StatusCode::PARTIAL_CONTENT, &headers), Some((2..5, 10)));
    }

    #[test]
    fn a_partial_response_of_another_length_has_no_range() {
        let range = |length: &'static [u8]| {
            let headers =
                headers(&[("content-length", length), ("content-range", b"bytes 2-4/10")]);
            received_range(StatusCode::PARTIAL_CONTENT, &headers)
        };
        assert_eq!(range(b"3"), Some((2..5, 10)));
        assert_eq!(range(b"4"), None);
        let chunked: &[(&str, &[u8])] =
            &[("transfer-encoding", b"chunked"), ("content-range", b"bytes 2-4/10")];
        assert_eq!(
            received_range(StatusCode::PARTIAL_CONTENT, &headers(chunked)),
            Some((2..5, 10))
        );
        assert_eq!(received_range(StatusCode::PARTIAL_CONTENT, &HeaderMap::new()), None);
    }

    #[test]
    fn an_etag_is_read_only_if_it_can_be_sent_back() {
        let read = |value: &'static [u8]| etag(&headers(&[("etag", value)]));
        assert_eq!(read(b"W/\"abc\""), Some(ETag::weak("abc").unwrap()));
        assert_eq!(read(b"\"abc\""), Some(ETag::strong("abc").unwrap()));
        assert_eq!(read(b"\"\xc3\xa9\""), Some(ETag::strong("é").unwrap()));
        for odd in [&b""[..], b"\"\"", b"W/\"\"", b"\"\xe9\"", b"\"a b\"", b"\"a\tb\""] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_date_in_any_form_is_read() {
        let read =
            |value: &'static [u8]| http_date(&headers(&[("last-modified", value)]), &LAST_MODIFIED);
        let time = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(read(b"Sun, 06 Nov 1994 08:49:37 GMT"), time);
        assert_eq!(read(b"Sunday, 06-Nov-94 08:49:37 GMT"), time);
        assert_eq!(read(b"Sun Nov  6 08:49:37 1994"), time);
        assert_eq!(read(b"yesterday"), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_in_the_future() {
        let wait = |value: &'static [u8]| retry_after(&headers(&[("retry-after", value)]));
        assert_eq!(wait(b"7"), Some(Duration::from_secs(7)));
        for odd in [&b"Sun, 06 Nov 1994 08:49:37 GMT"[..], b"soon", b"-1", b"+1", b"1.5", b""] {
            assert_eq!(wait(odd), None, "{odd:?}");
        }
        let before = SystemTime::now();
        let soon = before + Duration::from_secs(600);
        let value = HeaderValue::from_str(&httpdate::fmt_http_date(soon)).unwrap();
        let headers = [(RETRY_AFTER, value)].into_iter().collect();
        let wait = retry_after(&headers).unwrap();
        let least = Duration::from_secs(598).saturating_sub(before.elapsed().unwrap());
        assert!((least..=Duration::from_secs(600)).contains(&wait), "{wait:?}");
    }
}
