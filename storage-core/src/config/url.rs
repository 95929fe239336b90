//! URLs in options, for `#[serde(deserialize_with)]`, with an error that states what to write.

use serde::de::{self, Deserialize, Deserializer};
use url::Url;

const EXPECTED: &str =
    "expected a whole URL, with https:// or http:// before the host, as in https://HOST:PORT/";

/// Reads a URL.
///
/// # Errors
/// The deserializer's error, if the text is not a URL, such as a host without a scheme. The message
/// does not contain the text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// Reads an optional URL. Use it with `#[serde(default)]`.
///
/// # Errors
/// As [`deserialize`].
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    deserialize(deserializer).map(Some)
}

/// Converts a text to a URL.
///
/// # Errors
/// A description of the expected form, if the text is not a URL, or if its scheme is in fact a host
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
    fn an_endpoint_without_a_scheme_is_refused_with_a_correction() {
        let values =
            ["s3.example.com", "localhost:9000", "127.0.0.1:9000", "//host", ""].map(Value::from);
        for value in values.into_iter().chain([Value::Integer(4711)]) {
            let options = Options::new().with("endpoint", value.clone());
            let error = options.read::<Mine>("mine").unwrap_err();
            assert_eq!(error.message(), format!("option endpoint: {EXPECTED}"));
        }
        let options = Options::new().with("endpoint", "https://s3.example.com");
        assert_eq!(
            options.read::<Mine>("mine").unwrap().endpoint.as_str(),
            "https://s3.example.com/"
        );
    }

    #[test]
    fn an_error_about_a_number_does_not_show_it() {
        #[derive(Debug, serde::Deserialize)]
        struct Strict {
            #[allow(dead_code, reason = "read for its errors only")]
            url: Url,
        }
        let error =
            Options::new().with("url", Value::Integer(4711)).read::<Strict>("mine").unwrap_err();
        assert!(!error.message().contains("4711"), "{error}");
    }
}
