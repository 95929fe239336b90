//! Sends user metadata as headers `X-Storage-Meta-<name>`, which the driver `http` reads.
//!
//! A value is percent-encoded UTF-8, because metadata is any text and a header contains only
//! visible ASCII. Spaces are encoded too, because some proxies remove leading, trailing and
//! repeated ones.

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The beginning of each header's name.
const PREFIX: &str = "x-storage-meta-";

/// The ASCII characters to encode. All other characters are always encoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Returns the header for an entry, or `None` if its name is not a valid header name.
pub(crate) fn to_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(format!("{PREFIX}{name}")).ok()?;
    let value = HeaderValue::try_from(utf8_percent_encode(value, ENCODED).to_string()).ok()?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sent_if_it_is_a_token() {
        let (name, value) = to_header("a_b.c!#$%&'*+-^`|~1", "x").unwrap();
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("x-storage-meta-a_b.c!#$%&'*+-^`|~1", &b"x"[..])
        );
        for name in ["a b", "a\n", "é", "a:b"] {
            assert!(to_header(name, "x").is_none(), "{name:?}");
        }
    }

    #[test]
    fn any_value_is_encoded_in_visible_ascii() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("100%", "100%25"),
            (" a  b ", "%20a%20%20b%20"),
            ("Löveläce", "L%C3%B6vel%C3%A4ce"),
            ("a\nb", "a%0Ab"),
            ("=?UTF-8?B?", "=?UTF-8?B?"),
        ] {
            assert_eq!(to_header("a", text).unwrap().1, expected, "{text:?}");
        }
    }
}
