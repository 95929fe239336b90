//! Reads user metadata from headers: `X-Storage-Meta-<name>`, as `storage-serve` writes them.
//!
//! A header holds visible ASCII alone, and metadata any text: a value is percent-encoded UTF-8.

use std::collections::BTreeMap;

use http::HeaderMap;
use storage_core::percent_decoded;

/// Precedes the name of an entry.
const PREFIX: &str = "x-storage-meta-";

/// Returns all user metadata among the headers. A value that is not percent-encoded is taken as it
/// is.
pub(crate) fn from_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let entries = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(PREFIX).filter(|name| !name.is_empty())?;
        Some((name.to_owned(), percent_decoded(value.as_bytes())))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_value_from_an_unknown_server_is_taken_as_it_is() {
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
    fn other_headers_are_not_user_metadata() {
        let headers =
            [("x-storage-meta-", "a"), ("x-storage-method", "b"), ("content-type", "text/plain")];
        let headers = headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert!(from_headers(&headers.into_iter().collect()).is_empty());
    }
}
