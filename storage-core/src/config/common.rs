//! [`CommonOptions`]: the options that every driver takes.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::options::{DeclaredOptions, Options, Value};
use super::parse::duration;
use super::spec::OptionSpec;
use crate::error::{Error, Result};
use crate::link::LinkBase;
use crate::metadata::Metadata;

crate::options! {
    /// The options that every driver takes. The [`Registry`](crate::Registry) turns them into
    /// layers.
    #[derive(Debug, Clone, Default, PartialEq)]
    #[non_exhaustive]
    pub struct CommonOptions {
        /// The first segments of every key. Only the objects below them belong to the storage.
        pub prefix: Option<String> => "text";
        /// Whether the storage refuses everything that would change it.
        #[serde(default)]
        pub read_only: bool => "boolean", default false;
        /// The public address of the backend's root, which is the base of public links: a URL, or a
        /// path such as `/media/` on the host of the page that shows the links. A `prefix` is
        /// appended to it.
        #[serde(default, deserialize_with = "link_base")]
        pub public_url: Option<LinkBase> => "URL or path";
        /// Time limit for each step of a call: the longest time without a response or progress.
        #[serde(default, deserialize_with = "duration::option")]
        pub timeout: Option<Duration> => "duration";
        /// How many times a call that failed for a temporary reason is repeated.
        pub retries: Option<u32> => "integer", default 0;
        /// Metadata of objects that are saved without it, by header name (`Cache-Control` or
        /// `cache_control`).
        pub default_headers: Option<Metadata> => "table of texts";
    }
}

impl CommonOptions {
    /// Removes the common options from a table and leaves the driver's own.
    ///
    /// # Errors
    /// `InvalidConfig`, with the name of the option.
    pub fn take_from(options: &mut Options) -> Result<Self> {
        let mut own = Options::new();
        for name in Self::SPECS.iter().map(OptionSpec::name) {
            if let Some(value) = options.remove(name) {
                own.insert(
                    name,
                    if name == "default_headers" { field_names(value) } else { value },
                );
            }
        }
        let mut common: Self = own.read("any")?;
        if common.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::config(
                "option timeout: with zero, every call would fail; remove the option for no timeout",
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

/// Converts header names (`Cache-Control`) to the names of fields (`cache_control`).
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
