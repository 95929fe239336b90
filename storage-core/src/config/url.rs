//! URLs in options, for `#[serde(deserialize_with)]`: with an error that says what to write.

use serde::de::{self, Deserialize, Deserializer};
use url::Url;

const EXPECTED: &str =
    "expected a whole URL, with https:// or http:// before the host, as in https://HOST:PORT/";

/// Reads a URL.
///
/// # Errors
/// The deserializer's, for a text that is no URL, such as a host without a scheme. The text is not
/// shown.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// Reads a URL that may be missing. Use it with `#[serde(default)]`.
///
/// # Errors
/// As [`deserialize`].
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    deserialize(deserializer).map(Some)
}

/// Converts a text to a URL.
///
/// # Errors
/// What is expected instead, if the text is no URL, or if what looks like its scheme is a host
/// (`localhost:9000`).
pub fn parse(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    if url.cannot_be_a_base() { Err(EXPECTED) } else { Ok(url) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Options, Value};

    #[derive(Debug, serde::Deserialize)]
    struct Mine {
        #[serde(deserialize_with = "super::deserialize")]
        endpoint: Url,
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_refused_with_what_to_write() {
        let values =
            ["s3.example.com", "localhost:9000", "127.0.0.1:9000", "//host", ""].map(Value::from);
        for value in values.into_iter().chain([Value::Integer(4711)]) {
            let options = Options::new().with("endpoint", value.clone());
            let said = options.read::<Mine>("mine").unwrap_err();
            assert_eq!(said.message(), format!("option endpoint: {EXPECTED}"));
        }
        let options = Options::new().with("endpoint", "https://s3.example.com");
        assert_eq!(
            options.read::<Mine>("mine").unwrap().endpoint.as_str(),
            "https://s3.example.com/"
        );
    }

    #[test]
    fn no_error_shows_a_number_where_a_text_is_expected() {
        #[derive(Debug, serde::Deserialize)]
        struct Strict {
            #[allow(dead_code, reason = "read for its errors only")]
            url: Url,
        }
        let said =
            Options::new().with("url", Value::Integer(4711)).read::<Strict>("mine").unwrap_err();
        assert!(!said.message().contains("4711"), "{said}");
    }
}
