//! Structured fields (RFC 9651). Every one comes from a client, so what is malformed is rejected.
//!
//! The draft says that a malformed field is ignored. A client whose `Upload-Complete` is ignored
//! would get a truncated file, so a clear error serves it better.

use http::HeaderMap;
use sfv::{BareItem, Dictionary, Item, Parser};

use super::problem::Problem;

/// The longest field that is parsed, in bytes.
const MAX_BYTES: usize = 4096;

/// Returns the value of a field that is a Boolean (section 3.3.6).
pub(super) fn boolean(headers: &HeaderMap, name: &'static str) -> Result<Option<bool>, Problem> {
    match item(headers, name)? {
        None => Ok(None),
        Some(BareItem::Boolean(value)) => Ok(Some(value)),
        Some(_) => Err(malformed(name, "?0 or ?1")),
    }
}

/// Returns the value of a field that is a number of bytes: an Integer (section 3.3.1) that is not
/// negative.
pub(super) fn size(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
    let wrong = || malformed(name, "a number of bytes");
    match item(headers, name)? {
        None => Ok(None),
        Some(BareItem::Integer(value)) => {
            u64::try_from(i64::from(value)).map(Some).map_err(|_| wrong())
        }
        Some(_) => Err(wrong()),
    }
}

/// Returns the members of a field that is a Dictionary (section 3.2). Its lines belong together.
pub(super) fn dictionary(
    headers: &HeaderMap,
    name: &'static str,
) -> Result<Option<Dictionary>, Problem> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let mut text = Vec::new();
    for line in lines {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_bytes());
    }
    let wrong = || malformed(name, "a dictionary of digests, such as sha-256=:...:");
    if text.len() > MAX_BYTES {
        return Err(wrong());
    }
    Parser::new(&text).parse().map(Some).map_err(|_| wrong())
}

/// Returns the value of a field that is one item. Parameters are ignored.
fn item(headers: &HeaderMap, name: &'static str) -> Result<Option<BareItem>, Problem> {
    let mut lines = headers.get_all(name).iter();
    let (first, second) = (lines.next(), lines.next());
    let Some(line) = first else { return Ok(None) };
    if second.is_some() || line.len() > MAX_BYTES {
        return Err(malformed(name, "one value"));
    }
    let item: Item =
        Parser::new(line.as_bytes()).parse().map_err(|_| malformed(name, "a structured field"))?;
    Ok(Some(item.bare_item))
}

fn malformed(name: &str, expected: &str) -> Problem {
    Problem::bad(format!("{name} must be {expected}."))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn only_booleans_of_structured_fields_are_booleans() {
        assert!(matches!(boolean(&headers(&[]), "x"), Ok(None)));
        for (line, value) in [("?1", true), ("?0", false), (" ?1 ", true), ("?1;a=b", true)] {
            assert!(matches!(boolean(&headers(&[line]), "x"), Ok(Some(read)) if read == value));
        }
        for line in ["", "1", "true", "?2", "?1, ?1", "?", "?1 ?1", "\"?1\"", "é", "?1\t;"] {
            assert!(boolean(&headers(&[line]), "x").is_err(), "{line}");
        }
        assert!(boolean(&headers(&["?1", "?1"]), "x").is_err());
    }

    #[test]
    fn only_integers_that_are_not_negative_are_sizes() {
        for (line, value) in
            [("0", 0), ("-0", 0), ("007", 7), ("999999999999999", 999_999_999_999_999)]
        {
            assert!(matches!(size(&headers(&[line]), "x"), Ok(Some(read)) if read == value));
        }
        for line in ["-1", "+1", "1.0", "0x1", "1e3", "1000000000000000", "1,2", "", "?1", "@1"] {
            assert!(size(&headers(&[line]), "x").is_err(), "{line}");
        }
    }

    #[test]
    fn the_lines_of_a_dictionary_belong_together() {
        let read = dictionary(&headers(&["a=:AA==:", "b=:AQ==:;x"]), "x").unwrap().unwrap();
        assert_eq!(read.len(), 2);
        for line in ["a=:!:", "A=1", "a=1,", "=1", &"a".repeat(5000)] {
            assert!(dictionary(&headers(&[line]), "x").is_err(), "{line:.20}");
        }
    }
}
