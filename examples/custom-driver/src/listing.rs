//! Listing, a page of rows at a time.

use std::ops::Bound;

use redb::ReadOnlyTable;
use storage_core::{Entry, Key, ObjectEntry, Prefix, Result};

use crate::database::{Database, failed};
use crate::tables::{OBJECTS, Record};

/// How many rows are read at a time.
const PAGE: usize = 256;

/// How far a listing is.
pub(crate) enum Place {
    Start(Database, Bound<String>),
    After(ReadOnlyTable<&'static str, &'static [u8]>, String),
    End,
}

pub(crate) type Page = Vec<Result<Entry>>;

impl Place {
    /// The next entries, all out of the snapshot that the first page was read from.
    pub(crate) fn next_page(self, within: &Prefix) -> Result<Option<(Page, Self)>> {
        let (objects, start) = match self {
            Self::Start(database, start) => {
                (database.read()?.open_table(OBJECTS).map_err(failed)?, start)
            }
            Self::After(objects, last) => (objects, Bound::Excluded(last)),
            Self::End => return Ok(None),
        };
        let start = start.as_ref().map(String::as_str);
        let mut page = Page::new();
        let mut last = None;
        for row in objects.range::<&str>((start, Bound::Unbounded)).map_err(failed)?.take(PAGE) {
            let (key, record) = row.map_err(failed)?;
            if !key.value().starts_with(within.as_str()) {
                return Ok(Some((page, Self::End)));
            }
            page.push(entry(key.value(), record.value()));
            last = Some(key.value().to_owned());
        }
        let next = last.map_or(Self::End, |last| Self::After(objects, last));
        Ok(Some((page, next)))
    }
}

/// An odd key, or a record that cannot be read, is one error item, and the listing continues.
fn entry(name: &str, record: &[u8]) -> Result<Entry> {
    let meta = Key::new(name).and_then(|key| Record::read(record)?.into_meta(key));
    let meta = meta.map_err(|error| error.with_key(name).with_listing_continues(true))?;
    let mut entry = ObjectEntry::new(meta.key, meta.size);
    entry.etag = meta.etag;
    entry.last_modified = meta.last_modified;
    Ok(Entry::Object(entry))
}
