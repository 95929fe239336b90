//! [`Row`]: a row of an inventory, of either format, and the entry that it stands for.

use std::time::SystemTime;

use storage_core::{ETag, Error, ErrorKind, Key, MAX_KEY_BYTES, ObjectEntry, Result};

use super::columns::Columns;

/// A function that returns the next row of a file; `None` at the end. It blocks.
pub(super) type Rows = Box<dyn FnMut() -> Result<Option<Row>> + Send>;

/// The columns of a row that concern a listing.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) size: Option<u64>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<SystemTime>,
    /// `None` if the inventory has no such column: it lists only the latest versions.
    pub(super) is_latest: Option<Flag>,
    pub(super) is_delete_marker: Option<Flag>,
}

/// A column that is true or false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    True,
    False,
    Unknown,
}

impl From<Option<bool>> for Flag {
    fn from(value: Option<bool>) -> Self {
        match value {
            Some(true) => Self::True,
            Some(false) => Self::False,
            None => Self::Unknown,
        }
    }
}

impl Row {
    /// Returns the entry or the error of this name; `None` for what a listing does not contain.
    pub(super) fn into_item(self, columns: Columns) -> Option<Result<ObjectEntry>> {
        if self.is_latest == Some(Flag::False) || self.is_delete_marker == Some(Flag::True) {
            return None;
        }
        let is_folder_marker = self.key.ends_with(b"/") && self.size == Some(0);
        let is_clear = ![self.is_latest, self.is_delete_marker].contains(&Some(Flag::Unknown));
        if is_folder_marker && is_clear {
            return None;
        }
        Some(self.into_entry(columns, is_clear))
    }

    fn into_entry(self, columns: Columns, is_clear: bool) -> Result<ObjectEntry> {
        let key = parse_key(self.key)?;
        let unclear = |message: &'static str| {
            let error = Error::new(ErrorKind::InvalidInput, message);
            Err(error.with_key(key.as_str()).with_listing_continues(true))
        };
        if !is_clear {
            return unclear("the row does not contain whether it is the latest version");
        }
        let size = match (self.size, columns) {
            (Some(size), _) => size,
            (None, Columns::Key) => 0,
            (None, Columns::KeyAndSize) => return unclear("the row contains no size"),
        };
        let mut entry = ObjectEntry::new(key, size);
        // Without quotes. Both columns are optional, so that what has no meaning is absent.
        entry.etag =
            self.etag.filter(|etag| !etag.is_empty()).and_then(|etag| etag.parse::<ETag>().ok());
        entry.last_modified = self.last_modified;
        Ok(entry)
    }
}

fn parse_key(key: Vec<u8>) -> Result<Key> {
    let result = match String::from_utf8(key) {
        Ok(text) => Key::new(text),
        Err(error) => {
            let bytes = error.as_bytes();
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_KEY_BYTES)]);
            let error = Error::new(ErrorKind::InvalidKey, "a key is UTF-8");
            Err(error.with_key(shown))
        }
    };
    result.map_err(|error| error.with_listing_continues(true))
}

/// Returns the error of an inventory without a column.
pub(super) fn missing_column(name: &str) -> Error {
    let message = format!(
        "the inventory has no column {name}: add it to the optional fields of its configuration"
    );
    Error::new(ErrorKind::InvalidInput, message)
}
