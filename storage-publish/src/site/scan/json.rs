//! Values of JSON with their places, and data whose strings may be names of files.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decoded::Decoded;
use super::found::Scan;
use super::javascript;

/// Finds the strings of data that may be names of files.
pub(crate) fn scan_mentions(bytes: &[u8], scan: &mut Scan<'_>) {
    javascript::scan_strings(bytes, scan);
}

/// A document in JSON, which finds its values by their places.
#[derive(Clone, Copy)]
pub(crate) struct Document<'a> {
    text: &'a str,
    /// Where the text begins in the file.
    start: usize,
}

impl<'a> Document<'a> {
    /// Returns a document and its outermost value, or where and why the text is no JSON.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<(Self, &'a RawValue), (usize, String)> {
        let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let text = std::str::from_utf8(&bytes[start..])
            .map_err(|error| (start + error.valid_up_to(), "is not UTF-8".to_owned()))?;
        let value = serde_json::from_str(text).map_err(|error| {
            let before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let line_start: usize = before.map(str::len).sum();
            let at = (line_start + error.column().saturating_sub(1)).min(text.len());
            (start + at, format!("is not valid JSON: {error}"))
        })?;
        Ok((Self { text, start }, value))
    }

    /// Returns the text of a string, or `None` for another value.
    pub(crate) fn string(self, value: &'a RawValue) -> Option<Decoded> {
        let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
        // Both are parts of one text, so that the difference of their addresses is the place.
        let index = inner.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        javascript::unescape(inner.as_bytes(), self.start + index)
    }

    /// Returns where a value stands in the file, with its quotes or brackets.
    pub(crate) fn range(self, value: &'a RawValue) -> Option<std::ops::Range<usize>> {
        let text = value.get();
        let index = text.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        let start = self.start + index;
        Some(start..start + text.len())
    }

    /// Returns the entries of an object, or none for another value.
    pub(crate) fn entries(self, value: &'a RawValue) -> Vec<(Decoded, &'a RawValue)> {
        let Ok(entries) = value.deserialize_map(Entries) else { return Vec::new() };
        entries.into_iter().filter_map(|(name, value)| Some((self.string(name)?, value))).collect()
    }

    /// Returns the value of an object's entry. If there are several, the last one counts.
    pub(crate) fn get(self, value: &'a RawValue, name: &str) -> Option<&'a RawValue> {
        let entries = self.entries(value);
        entries.into_iter().rev().find(|(found, _)| found.text == name).map(|(_, value)| value)
    }

    /// Returns the items of an array, or none for another value.
    pub(crate) fn items(self, value: &'a RawValue) -> Vec<&'a RawValue> {
        serde_json::from_str(value.get()).unwrap_or_default()
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
