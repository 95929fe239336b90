//! [`Options`] and [`Value`]: the options of a driver as the configuration contains them, before
//! the driver reads them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::common::CommonOptions;
use super::parse::{ConfigError, ValueDeserializer};
use super::spec::{OptionDefault, OptionSpec};
use crate::error::{Error, Result};

/// One value of a configuration, independent of its format.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// A table.
    Table(Options),
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::String(_) => "a string",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// Returns whether a message shows this value, or a value inside it. A short text counts only
    /// between quotes, because any sentence may contain it.
    pub(super) fn is_quoted_in(&self, message: &str) -> bool {
        let shows = |text: &str| {
            message.contains(&format!("{text:?}")) || (text.len() >= 8 && message.contains(text))
        };
        match self {
            Self::String(text) => shows(text),
            // A number is read as a text where a text is expected.
            Self::Integer(number) => shows(&number.to_string()),
            Self::Float(number) => shows(&number.to_string()),
            Self::Array(items) => items.iter().any(|item| item.is_quoted_in(message)),
            Self::Table(table) => table.values.values().any(|item| item.is_quoted_in(message)),
            _ => false,
        }
    }
}

/// Shows no values, because any of them may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(options) => options.fmt(f),
            other => write!(f, "<{}>", other.kind()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<Options> for Value {
    fn from(table: Options) -> Self {
        Self::Table(table)
    }
}

/// A table of options by name.
///
/// ```
/// use storage_core::config::Options;
///
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Mine { root: String, #[serde(default)] create_root: bool }
///
/// // A text is accepted where a boolean is expected, as in the query of a URL.
/// let options = Options::new().with("root", "/srv").with("create_root", "true");
/// assert!(options.read::<Mine>("mine")?.create_root);
///
/// let error = Options::new().with("rot", "/srv").read::<Mine>("mine").unwrap_err();
/// assert!(error.message().contains("unknown option rot"), "{error}");
/// assert!(error.message().contains("root, create_root"), "{error}");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Options {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) origin: Origin,
}

/// The source of a table's values, which decides what texts a [`Secret`](super::Secret) accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A format in which `${VAR}` has no meaning.
    #[default]
    Given,
    /// A format whose variables have been replaced.
    Expanded,
    /// A URL.
    Url,
}

impl Origin {
    /// The key of the origin in a table that passes through serde. No option has this name.
    pub(super) const MARKER: &'static str = "$anystorage::origin";

    pub(super) fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Expanded,
            2 => Self::Url,
            _ => Self::Given,
        }
    }
}

/// Compares the values and ignores their origin.
impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Options {
    /// Creates an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an option.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Adds an option and returns its previous value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.values.insert(name.into(), value.into())
    }

    /// Returns the value of an option.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Removes an option and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name)
    }

    /// Adds the declared default of each option that is not set and whose default is a value. For
    /// tests which prove that a driver applies the defaults that it declares.
    #[doc(hidden)]
    #[must_use]
    pub fn with_declared_defaults(mut self, specs: &[OptionSpec]) -> Self {
        for spec in specs {
            let OptionDefault::Value(text) = spec.default() else { continue };
            let value = match (text.parse(), text.parse()) {
                (Ok(number), _) => Value::Integer(number),
                (_, Ok(boolean)) => Value::Bool(boolean),
                _ => Value::String(text.trim_matches('"').to_owned()),
            };
            self.values.entry(spec.name().to_owned()).or_insert(value);
        }
        self
    }

    /// Marks the options as those of a URL, which must not contain secrets.
    pub(crate) fn mark_as_url(&mut self) {
        self.origin = Origin::Url;
    }

    /// Reads the options into the struct of a driver, which [`options!`](crate::options!) declares.
    ///
    /// A text is accepted where a boolean or a number is expected, because URLs and environment
    /// variables contain only text.
    ///
    /// # Errors
    /// `InvalidConfig`, with the name of the option. For an unknown option the message lists those
    /// of the driver and those of every driver. A [`Secret`](super::Secret) fails if it comes from
    /// a URL, or contains `${` where no variables are replaced. No message contains a value.
    pub fn read<T: DeserializeOwned>(self, driver: &str) -> Result<T> {
        T::deserialize(ValueDeserializer::of(self))
            .map_err(|error: ConfigError| error.into_error(Some(driver)))
    }

    /// As [`read`](Self::read), for a table that does not belong to a driver, such as the options
    /// of a server.
    ///
    /// # Errors
    /// `InvalidConfig`, with the name of the option. For an unknown option the message lists the
    /// known ones. No message contains a value.
    pub fn read_table<T: DeserializeOwned>(self) -> Result<T> {
        T::deserialize(ValueDeserializer::of(self))
            .map_err(|error: ConfigError| error.into_error(None))
    }
}

/// Options that a driver declares: a struct to read, and a list of what is in it.
/// [`options!`](crate::options!) implements it.
///
/// [`Options`] implements it too, for a driver that reads its table itself and declares nothing.
pub trait DeclaredOptions: DeserializeOwned {
    /// The options, in the order in which they are declared.
    const SPECS: &'static [OptionSpec];

    /// Reads the options of a table.
    ///
    /// # Errors
    /// As [`Options::read`].
    fn read_from(options: Options, driver: &str) -> Result<Self> {
        options.read(driver)
    }
}

impl DeclaredOptions for Options {
    const SPECS: &'static [OptionSpec] = &[];

    fn read_from(options: Options, _driver: &str) -> Result<Self> {
        Ok(options)
    }
}

crate::options! {
    /// The options of a driver that has none of its own.
    #[derive(Debug)]
    #[non_exhaustive]
    pub struct NoOptions {}
}

/// Iterates over names and values, sorted by name.
impl IntoIterator for Options {
    type Item = (String, Value);
    type IntoIter = std::collections::btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.values).finish()
    }
}

impl ConfigError {
    /// Converts to an error about the options of a driver, or of another table.
    fn into_error(self, driver: Option<&str>) -> Error {
        let of_driver = driver.map_or_else(String::new, |driver| format!(" of driver {driver}"));
        Error::config(match self {
            Self::Unknown { name, known } => {
                let own =
                    if known.is_empty() { "none of its own".to_owned() } else { known.join(", ") };
                let common: Vec<_> = CommonOptions::SPECS.iter().map(OptionSpec::name).collect();
                let common = common.join(", ");
                let common =
                    driver.map_or_else(String::new, |_| format!(", and for every driver {common}"));
                format!("unknown option {name}{of_driver}; known options: {own}{common}")
            }
            Self::Missing { name } => format!("option {name}{of_driver} is missing"),
            Self::Bad { path, reason } if path.is_empty() => reason,
            Self::Bad { path, reason } => format!("option {path}: {reason}"),
        })
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A `Value` accepts every type. The format's own message about a wrong type would quote it.
        match Value::deserialize(deserializer)? {
            Value::Table(table) => Ok(table),
            other => Err(de::Error::custom(format!("expected a table, found {}", other.kind()))),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(VALUE, ValueVisitor)
    }
}

/// The newtype name that makes [`ValueDeserializer`] pass on the origin of tables.
pub(super) const VALUE: &str = "$anystorage::Value";

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a string, a list or a table")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| E::custom("the number is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut values, mut origin) = (BTreeMap::new(), Origin::Given);
        // `null`, in formats that have it, means that the option is not set.
        while let Some((name, value)) = map.next_entry::<String, Option<Value>>()? {
            match value {
                Some(Value::Integer(number)) if name == Origin::MARKER => {
                    origin = Origin::from_number(number);
                }
                value => values.extend(value.map(|value| (name, value))),
            }
        }
        Ok(Value::Table(Options { values, origin }))
    }
}

/// Writes the value in full, secrets included, so that a configuration can be stored.
impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl Serialize for Options {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.values)
    }
}
