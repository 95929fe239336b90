//! [`Tags`]: the tags of an object.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use storage_client::header_value;
use storage_core::{Error, ErrorKind, Result};

use crate::endpoint::in_query;

/// The header with the tags of a save.
pub(crate) const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");

/// The limits of S3 for one object, and for the characters of a tag ("Categorizing your objects
/// using tags").
const MAX_TAGS: usize = 10;
const MAX_NAME_CHARS: usize = 128;
const MAX_VALUE_CHARS: usize = 256;

/// The tags of an object, and their header.
#[derive(Debug, Clone)]
pub(crate) struct Tags {
    pub(crate) pairs: BTreeMap<String, String>,
    pub(crate) header: HeaderValue,
}

impl Tags {
    pub(crate) fn new(pairs: BTreeMap<String, String>) -> Result<Self> {
        let encoded: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", in_query(name), in_query(value)))
            .collect();
        Ok(Self { header: header_value(&encoded.join("&"))?, pairs })
    }
}

/// Checks the tags of a caller.
///
/// # Errors
/// See `S3::with_tags`.
pub(crate) fn checked<K, V>(
    tags: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<String, String>>
where
    K: Into<String>,
    V: Into<String>,
{
    let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
    let mut checked = BTreeMap::new();
    for (name, value) in tags {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
            return invalid(format!(
                "the name of a tag must have 1 to {MAX_NAME_CHARS} characters"
            ));
        }
        if value.chars().count() > MAX_VALUE_CHARS {
            return invalid(format!(
                "the value of a tag may have at most {MAX_VALUE_CHARS} characters"
            ));
        }
        if name.chars().chain(value.chars()).any(char::is_control) {
            return invalid("a tag must not contain control characters".to_owned());
        }
        if checked.insert(name, value).is_some() {
            return invalid("the name of a tag occurs twice".to_owned());
        }
        if checked.len() > MAX_TAGS {
            return invalid(format!("an object may have at most {MAX_TAGS} tags"));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_encoded_as_a_query() {
        let tags = checked([("b", "c&d=e"), ("a b", "é+/:@")]).unwrap();
        assert_eq!(Tags::new(tags).unwrap().header, "a%20b=%C3%A9%2B%2F%3A%40&b=c%26d%3De");
    }

    #[test]
    fn tags_that_no_service_accepts_are_refused() {
        let long = |len: usize| "é".repeat(len);
        for tags in [
            vec![(String::new(), "a".to_owned())],
            vec![(long(129), String::new())],
            vec![("a".to_owned(), long(257))],
            vec![("a\n".to_owned(), String::new())],
            vec![("a".to_owned(), "\0".to_owned())],
            vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
            (0..11).map(|n| (n.to_string(), String::new())).collect(),
        ] {
            assert_eq!(
                checked(tags.clone()).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{tags:?}"
            );
        }
        let most = (0..10).map(|n| (format!("{n}{}", long(127)), long(256)));
        assert_eq!(checked(most).unwrap().len(), 10);
    }
}
