//! User metadata as headers, there and back: `X-Storage-Meta-<name>`, as the server tells it and
//! the driver reads it.
//!
//! A header holds visible ASCII alone, and metadata any text: a value is percent-encoded UTF-8.
//! Spaces are encoded as well, since those at the ends of a header's value, or several in a row, do
//! not survive every proxy.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use storage_core::percent_decoded;

/// What a name has before it.
const PREFIX: &str = "x-storage-meta-";

/// What is not ASCII is encoded whatever the set.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The header that tells of a name and its value; `None` for a name that no header can have.
#[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "only a server tells user metadata"))]
pub(crate) fn to_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(format!("{PREFIX}{name}")).ok()?;
    let value = HeaderValue::try_from(utf8_percent_encode(value, ENCODED).to_string()).ok()?;
    Some((name, value))
}

/// All user metadata among the headers. What was not encoded by [`to_header`] is taken as it is.
#[cfg_attr(
    not(feature = "driver"),
    allow(dead_code, reason = "only the driver reads user metadata")
)]
pub(crate) fn from_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let told = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(PREFIX).filter(|name| !name.is_empty())?;
        Some((name.to_owned(), percent_decoded(value.as_bytes())))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(name: &str, value: &str) -> BTreeMap<String, String> {
        from_headers(&to_header(name, value).into_iter().collect())
    }

    #[test]
    fn any_text_reads_back_as_it_was() {
        for text in [
            "",
            "plain",
            "100%",
            "%20",
            "%zz",
            " a  b ",
            "Löveläce",
            "日本語 ☺",
            "a=b; c=\"d\", e\\f",
            "=?UTF-8?B?",
        ] {
            assert_eq!(
                back("name", text),
                BTreeMap::from([("name".to_owned(), text.to_owned())]),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_name_may_be_any_token_and_nothing_else() {
        assert!(back("a_b.c!#$%&'*+-^`|~1", "x").contains_key("a_b.c!#$%&'*+-^`|~1"));
        for name in ["a b", "a\n", "é", "a:b"] {
            assert!(to_header(name, "x").is_none(), "{name:?}");
        }
    }

    #[test]
    fn what_a_stranger_sends_is_taken_as_it_is() {
        let read = |value: &'static [u8]| {
            let headers = [(
                HeaderName::from_static("x-storage-meta-a"),
                HeaderValue::from_bytes(value).unwrap(),
            )];
            from_headers(&headers.into_iter().collect()).remove("a")
        };
        assert_eq!(read(b"100%").as_deref(), Some("100%"));
        assert_eq!(read(b"caf\xe9").as_deref(), Some("caf\u{e9}"));
        assert_eq!(read(b"a%0d%0ab").as_deref(), Some("a%0d%0ab"));
    }

    #[test]
    fn other_headers_are_no_user_metadata() {
        let headers =
            [("x-storage-meta-", "a"), ("x-storage-method", "b"), ("content-type", "text/plain")];
        let headers = headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert!(from_headers(&headers.into_iter().collect()).is_empty());
    }
}
