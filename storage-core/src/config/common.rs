//! The options that every driver takes, whoever wrote it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::options::{Options, Value};
use super::parse::duration;
use crate::error::{Error, Result};
use crate::link::LinkBase;
use crate::metadata::Metadata;

/// The names of the options that every driver takes.
pub const COMMON_OPTIONS: &[&str] =
    &["prefix", "read_only", "public_url", "timeout", "retries", "default_headers"];

/// The options that every driver takes. The [`Registry`](crate::Registry) turns them into layers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CommonOptions {
    /// Segments that come before every key.
    pub prefix: Option<String>,
    /// Refuses whatever would change the storage.
    pub read_only: bool,
    /// Where objects are publicly shown: a URL, or a path such as `/media/` on the host of the page
    /// that shows the links. It shows the backend's root: a `prefix` comes after it.
    #[serde(deserialize_with = "link_base")]
    pub public_url: Option<LinkBase>,
    /// The longest time without an answer or progress.
    #[serde(deserialize_with = "duration::option")]
    pub timeout: Option<Duration>,
    /// How often a failure that may pass is tried again.
    pub retries: Option<u32>,
    /// Metadata for what is saved without it, by header name (`Cache-Control`, `cache_control`).
    pub default_headers: Option<Metadata>,
}

impl CommonOptions {
    /// Takes the common options out of a table and leaves the driver's own.
    ///
    /// # Errors
    /// `InvalidConfig` that names the option.
    pub fn take_from(options: &mut Options) -> Result<Self> {
        let mut own = Options::new();
        for name in COMMON_OPTIONS {
            if let Some(value) = options.remove(name) {
                own.insert(
                    *name,
                    if *name == "default_headers" { field_names(value) } else { value },
                );
            }
        }
        let mut common: Self = own.read("any")?;
        if common.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::config(
                "option timeout: zero would fail everything; leave it out for no timeout",
            ));
        }
        common.default_headers =
            common.default_headers.map(Metadata::validated).transpose().map_err(|error| {
                Error::config(format!("option default_headers: {}", error.message()))
            })?;
        Ok(common)
    }
}

/// Reads a [`LinkBase`]. Errors do not contain the text.
fn link_base<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LinkBase>, D::Error> {
    let text = String::deserialize(deserializer)?;
    LinkBase::parse(&text).map(Some).map_err(de::Error::custom)
}

/// `Cache-Control` as people know it, `cache_control` as the field is called.
fn field_names(value: Value) -> Value {
    match value {
        Value::Table(Options { values, origin }) => {
            let names = values
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase().replace('-', "_"), value));
            Value::Table(Options { values: names.collect(), origin })
        }
        other => other,
    }
}
