//! Parses TOML into [`Value`]s, with errors that contain the line and never a value.

use storage_core::config::Options;
#[cfg(feature = "toml")]
use storage_core::config::Value;
use storage_core::{Error, Result};

/// Parses a TOML document.
///
/// # Errors
/// `InvalidConfig` with line, column and mistake.
#[cfg(feature = "toml")]
pub(crate) fn parse(text: &str) -> Result<Options> {
    let document: toml::Table = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
    Ok(options(document))
}

/// Fails, because the program is built without TOML.
#[cfg(not(feature = "toml"))]
pub(crate) fn parse(_text: &str) -> Result<Options> {
    Err(Error::config(
        "this program is built without TOML: enable the feature \"toml\" of anystorage",
    ))
}

/// Returns an error without the full message of the parser and without its error as the source,
/// because both quote the line, which may contain a secret.
#[cfg(feature = "toml")]
fn syntax_error(text: &str, error: &toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    // Only the message about a number that is too large quotes a value.
    let reason = if error.message().starts_with("invalid type") {
        "the number is too large"
    } else {
        error.message()
    };
    Error::config(format!("line {line}, column {column}: {reason}"))
}

#[cfg(feature = "toml")]
fn options(table: toml::Table) -> Options {
    let mut options = Options::new();
    for (name, item) in table {
        options.insert(name, value(item));
    }
    options
}

/// Converts a value of TOML to a value of a configuration.
#[cfg(feature = "toml")]
fn value(item: toml::Value) -> Value {
    match item {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::Integer(number),
        toml::Value::Float(number) => Value::Float(number),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        // Options accept a time as text.
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        toml::Value::Table(table) => Value::Table(options(table)),
    }
}

#[cfg(all(test, feature = "toml"))]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_contains_line_and_column() {
        let error = parse("[storages.default]\ndriver = \"fs\"\nroot = /srv\n").unwrap_err();
        assert!(error.message().starts_with("line 3, column 8: "), "{error}");
        let error = parse("a = 1\n\"é\" = 2; b").unwrap_err();
        assert!(error.message().starts_with("line 2, column 7: "), "{error}");
    }

    #[test]
    fn a_syntax_error_quotes_no_value() {
        let broken = [
            "key = \"CANARY",
            "key = CANARY",
            "key = 'CANARY",
            "key = \"\"\"CANARY",
            "key = \"CANARY\\q\"",
            "key = \"a\" CANARY",
            "key = [\"CANARY\"",
            "key = { a = CANARY }",
            "key = 1979-99-99TCANARY",
            "key CANARY",
            "[CANARY",
            "CANARY",
            "CANARY = 1\nCANARY = 2",
            "CANARY.a = 1\nCANARY = 2",
        ];
        for text in broken {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{text:?}: {error}");
            assert!(std::error::Error::source(&error).is_none());
        }
        let error = parse("key = 98765432109876543210").unwrap_err();
        assert_eq!(error.message(), "line 1, column 7: the number is too large");
    }

    #[test]
    fn a_date_is_read_as_text() {
        let mut table = parse("expires = 2026-12-01T00:00:00Z").unwrap();
        assert_eq!(table.remove("expires"), Some(Value::from("2026-12-01T00:00:00Z")));
    }
}
