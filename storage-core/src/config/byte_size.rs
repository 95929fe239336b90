//! Sizes in options (`8388608`, `"8MiB"`, `"50 GB"`), for `#[serde(deserialize_with)]`.

use std::fmt;

use serde::{Deserializer, de};

const EXPECTED: &str = "a number of bytes, as in 8388608, \"8MiB\" or \"50GB\"";

/// Reads a number of bytes.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Limits {
///     #[serde(deserialize_with = "storage_core::config::byte_size::deserialize")]
///     max_size: u64,
/// }
///
/// let limits: Limits = serde_json::from_str(r#"{ "max_size": "50GiB" }"#)?;
/// assert_eq!(limits.max_size, 50 << 30);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// The deserializer's error, if the value is not a number of bytes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(ByteSize)
}

/// Reads an optional number of bytes. Use it with `#[serde(default)]`.
///
/// # Errors
/// As [`deserialize`].
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserialize(deserializer).map(Some)
}

/// Converts a text to a number of bytes: digits and an optional unit. The units `kB`, `MB`, `GB`
/// and `TB` count in 1000, `KiB`, `MiB`, `GiB` and `TiB` in 1024; `B` is a byte. Returns `None` for
/// any other text.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

struct ByteSize;

impl de::Visitor<'_> for ByteSize {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes).map_err(|_| expected())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text).ok_or_else(expected)
    }
}

fn expected<E: de::Error>() -> E {
    E::custom(format_args!("expected {EXPECTED}"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_size_has_units_of_1000_or_of_1024() {
        assert_eq!(parse("8388608"), Some(8 << 20));
        assert_eq!(parse("8MiB"), Some(8 << 20));
        assert_eq!(parse("50 GB"), Some(50_000_000_000));
        assert_eq!(parse("1TiB"), Some(1 << 40));
    }

    #[test]
    fn a_text_that_is_not_a_size_is_refused() {
        for text in
            ["", "MiB", "-1", "1.5GiB", "8 mib", "8M", "99999999999999999999", "99999999TiB"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
