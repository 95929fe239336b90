//! Writes user metadata as headers: `X-Storage-Meta-<name>`, which the driver `http` reads.
//!
//! A header holds visible ASCII alone, and metadata any text: a value is percent-encoded UTF-8.
//! Spaces are encoded as well, since those at the ends of a header's value, or several in a row, do
//! not survive every proxy.

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Precedes the name of an entry.
const PREFIX: &str = "x-storage-meta-";

/// Characters outside ASCII are encoded whatever the set.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Returns the header for an entry, or `None` for a name that no header can have.
pub(crate) fn to_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(format!("{PREFIX}{name}")).ok()?;
    let value = HeaderValue::try_from(utf8_percent_encode(value, ENCODED).to_string()).ok()?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_any_token_and_nothing_else() {
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
    fn any_text_is_a_header_of_visible_ascii() {
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
