//! [`ValueDeserializer`]: reads a [`Value`] into a driver's struct. Its errors name the option and
//! never contain a value.

use std::collections::btree_map;
use std::fmt;
use std::time::Duration;

use serde::de::value::SeqDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::options::{Options, Origin, VALUE, Value};
use super::secret::{self, SECRET};

/// Durations in options (`"90s"`, `"15m"`, `"1h 30m"`), for `#[serde(deserialize_with)]`. A plain
/// number is seconds.
pub mod duration {
    use super::{Deserialize, Deserializer, Duration, de};

    /// Reads a duration.
    ///
    /// # Errors
    /// The deserializer's error, if the value is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            de::Error::custom("expected a duration, as in \"90s\", \"15m\" or \"1h 30m\"")
        })
    }

    /// Reads an optional duration. Use it with `#[serde(default)]`.
    ///
    /// # Errors
    /// As [`deserialize`].
    pub fn option<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        deserialize(deserializer).map(Some)
    }

    /// Converts a text to a duration. Returns `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Duration> {
        match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => humantime::parse_duration(text).ok(),
        }
    }
}

/// An error about options, without their values.
#[derive(Debug)]
pub(super) enum ConfigError {
    Unknown { name: String, known: &'static [&'static str] },
    Missing { name: &'static str },
    Bad { path: String, reason: String },
}

impl ConfigError {
    fn bad(reason: impl Into<String>) -> Self {
        Self::Bad { path: String::new(), reason: reason.into() }
    }

    /// Removes a message that quotes the value, as the message of `Url` does.
    fn without(self, value: &Value) -> Self {
        match self {
            Self::Bad { path, reason } if value.is_quoted_in(&reason) => {
                Self::Bad { path, reason: "not an acceptable value".to_owned() }
            }
            other => other,
        }
    }

    /// Adds the name of the option or table to the path.
    fn below(self, name: &str) -> Self {
        match self {
            Self::Bad { path, reason } if path.is_empty() => {
                Self::Bad { path: name.to_owned(), reason }
            }
            Self::Bad { path, reason } => Self::Bad { path: format!("{name}.{path}"), reason },
            // The driver's list of options does not apply inside a table of its own.
            Self::Unknown { name: inner, known } => Self::Bad {
                path: name.to_owned(),
                reason: format!("unknown key {inner}; known keys: {}", known.join(", ")),
            },
            Self::Missing { name: inner } => {
                Self::Bad { path: name.to_owned(), reason: format!("key {inner} is missing") }
            }
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ConfigError {}

impl de::Error for ConfigError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::bad(message.to_string())
    }

    // The default messages quote the value, which may be a misplaced secret.
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::bad(format!("expected {expected}, found {}", kind_of(&found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::bad(format!("expected {expected}, found another {}", kind_of(&found)))
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        Self::bad(format!("not one of the known values: {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown { name: field.to_owned(), known: expected }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing { name: field }
    }
}

fn kind_of(found: &de::Unexpected<'_>) -> &'static str {
    match found {
        de::Unexpected::Bool(_) => "boolean",
        de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) => "integer",
        de::Unexpected::Float(_) => "number with a fraction",
        de::Unexpected::Char(_) | de::Unexpected::Str(_) => "string",
        de::Unexpected::Seq => "list",
        de::Unexpected::Map => "table",
        _ => "kind of value",
    }
}

/// Deserializes one value.
pub(super) struct ValueDeserializer {
    value: Value,
    /// The origin of the table that contains the value.
    origin: Origin,
    /// Whether tables are read with [`Origin::MARKER`], for [`Value`].
    marks: bool,
}

impl ValueDeserializer {
    pub(super) fn of(options: Options) -> Self {
        Self { origin: options.origin, value: Value::Table(options), marks: false }
    }

    fn secret<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let text = match (self.origin, &self.value) {
            (Origin::Url, _) => return Err(ConfigError::bad(secret::IN_URL)),
            // A secret reads bytes as the text itself.
            (Origin::Expanded, Value::String(text)) => text.clone(),
            (Origin::Expanded, Value::Integer(number)) => number.to_string(),
            _ => return visitor.visit_newtype_struct(self),
        };
        visitor.visit_byte_buf(text.into_bytes())
    }
}

impl<'de> IntoDeserializer<'de, ConfigError> for ValueDeserializer {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Accepts a text where a number or a boolean is expected.
macro_rules! or_from_text {
    ($($method:ident, $visit:ident, $type:ty;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
            match &self.value {
                Value::String(text) => match text.parse::<$type>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => self.deserialize_any(visitor),
                },
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for ValueDeserializer {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let Self { value, origin, marks } = self;
        match value {
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Integer(value) => visitor.visit_i64(value),
            Value::Float(value) => visitor.visit_f64(value),
            Value::String(value) => visitor.visit_string(value),
            Value::Array(items) => {
                let items = items.into_iter().map(|value| Self { value, origin, marks });
                let mut items = SeqDeserializer::new(items);
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Table(Options { values, origin }) => {
                let marker =
                    marks.then(|| (Origin::MARKER.to_owned(), Value::Integer(origin as i64)));
                visitor.visit_map(Table {
                    marker,
                    entries: values.into_iter(),
                    entry: None,
                    origin,
                    marks,
                })
            }
        }
    }

    or_from_text! {
        deserialize_bool, visit_bool, bool;
        deserialize_i8, visit_i64, i64;
        deserialize_i16, visit_i64, i64;
        deserialize_i32, visit_i64, i64;
        deserialize_i64, visit_i64, i64;
        deserialize_u8, visit_u64, u64;
        deserialize_u16, visit_u64, u64;
        deserialize_u32, visit_u64, u64;
        deserialize_u64, visit_u64, u64;
        deserialize_f32, visit_f64, f64;
        deserialize_f64, visit_f64, f64;
    }

    /// Accepts a number where a text is expected: `timeout = 30`, `bucket = 2026`.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.value {
            Value::Integer(value) => visitor.visit_string(value.to_string()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        match name {
            SECRET => self.secret(visitor),
            VALUE => visitor.visit_newtype_struct(Self { marks: true, ..self }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        match self.value {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            other => Err(ConfigError::bad(format!("expected a string, found {}", other.kind()))),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Reads the options of a table one by one, and adds the name of the option to its errors.
struct Table {
    marker: Option<(String, Value)>,
    entries: btree_map::IntoIter<String, Value>,
    entry: Option<(String, Value)>,
    origin: Origin,
    marks: bool,
}

impl<'de> MapAccess<'de> for Table {
    type Error = ConfigError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ConfigError> {
        self.entry = self.marker.take().or_else(|| self.entries.next());
        let Some((name, _)) = &self.entry else { return Ok(None) };
        seed.deserialize(name.clone().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ConfigError> {
        let (name, value) =
            self.entry.take().ok_or_else(|| ConfigError::bad("a value without a name"))?;
        let hidden = value.clone();
        let value = ValueDeserializer { value, origin: self.origin, marks: self.marks };
        seed.deserialize(value).map_err(|error| error.without(&hidden).below(&name))
    }
}
