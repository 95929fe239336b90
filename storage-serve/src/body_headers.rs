//! The headers of a request that describe its body: size and media type.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// The header `Content-Length` is not one number.
#[derive(Debug)]
pub(crate) struct InvalidLength;

/// Returns the size of the body, if the client declares it: digits (RFC 9110 section 8.6), at most
/// `i64::MAX`, which every storage can represent.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, InvalidLength> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (lines.next(), lines.next());
    let Some(line) = first else { return Ok(None) };
    let text = line.to_str().ok().map(str::trim).filter(|_| second.is_none());
    // `parse` accepts a sign.
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let size = digits.and_then(|digits| digits.parse().ok());
    size.filter(|size| i64::try_from(*size).is_ok()).map(Some).ok_or(InvalidLength)
}

/// Returns whether the body has a media type, which has no parameters.
#[cfg(feature = "uploads")]
pub(crate) fn has_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes().trim_ascii());
    value.is_some_and(|value| value.eq_ignore_ascii_case(media_type.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&'static str]) -> Option<Option<u64>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
        }
        content_length(&headers).ok()
    }

    #[test]
    fn a_content_length_is_one_number() {
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&["5"]), Some(Some(5)));
        let invalid: &[&[&str]] =
            &[&[""], &["+5"], &["-5"], &["5, 5"], &["5", "5"], &["0x5"], &["9223372036854775808"]];
        for values in invalid {
            assert_eq!(of(values), None, "{values:?}");
        }
    }
}
