//! [`Cursor`]: lists the objects, one page of rows at a time.

use std::ops::Bound;

use redb::ReadOnlyTable;
use storage_core::{Entry, Key, ObjectEntry, Prefix, Result};

use crate::database::{Database, failed};
use crate::tables::{OBJECTS, Record};

/// How many rows a page has.
const PAGE_SIZE: usize = 256;

/// The position of a listing.
pub(crate) enum Cursor {
    Start(Database, Bound<String>),
    After(ReadOnlyTable<&'static str, &'static [u8]>, String),
    End,
}

pub(crate) type Page = Vec<Result<Entry>>;

impl Cursor {
    /// Returns the next page, from the snapshot of the first page, and the position after it.
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
        for row in objects.range::<&str>((start, Bound::Unbounded)).map_err(failed)?.take(PAGE_SIZE)
        {
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

/// Converts a row to an entry. An invalid key or an unreadable record is one error item, after
/// which the listing continues.
fn entry(name: &str, record: &[u8]) -> Result<Entry> {
    let meta = Key::new(name).and_then(|key| Record::read(record)?.into_meta(key));
    let meta = meta.map_err(|error| error.with_key(name).with_listing_continues(true))?;
    let mut entry = ObjectEntry::new(meta.key, meta.size);
    entry.etag = meta.etag;
    entry.last_modified = meta.last_modified;
    Ok(Entry::Object(entry))
}
