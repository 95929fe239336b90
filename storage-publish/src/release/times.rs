//! Times of documents in RFC 3339, for `#[serde(with)]`.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serializer, de};
use storage_core::{format_time, parse_time};

pub(crate) fn serialize<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_time(*time))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_time(&text).map_err(|error| de::Error::custom(error.message().to_owned()))
}
