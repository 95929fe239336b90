//! [`Entry`]: the item of a listing, and the rolling up of keys at a delimiter.

use std::time::SystemTime;

use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::key::{Key, Prefix};
use crate::options::ListOptions;

/// The entries of a listing: see [`Driver::list`](crate::Driver::list).
pub type EntryStream = BoxStream<'static, Result<Entry>>;

/// One item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// An object.
    Object(ObjectEntry),
    /// The common prefix of one or more keys, including the delimiter. With the delimiter `/`
    /// also a directory that cannot be read, or that contains only a folder marker.
    Prefix(Prefix),
    /// A folder marker: an empty object whose name ends in `/`, which consoles of S3 services
    /// create to show an empty folder. It is not an object of the contract, because its name is not
    /// a [`Key`]. [`Storage::list`](crate::Storage::list) skips and counts markers unless
    /// [`List::with_folder_markers`](crate::List::with_folder_markers) includes them. The prefix is
    /// the marker's name and ends in `/`. Through [`Prefixed`](crate::layers::Prefixed) the marker
    /// of the prefix itself has an empty name.
    FolderMarker(Prefix),
}

impl Entry {
    /// Returns the key or the prefix, by which a listing is sorted.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Object(object) => object.key.as_str(),
            Self::Prefix(prefix) | Self::FolderMarker(prefix) => prefix.as_str(),
        }
    }

    /// Returns the object, if the entry is one.
    #[must_use]
    pub fn into_object(self) -> Option<ObjectEntry> {
        match self {
            Self::Object(object) => Some(object),
            Self::Prefix(_) | Self::FolderMarker(_) => None,
        }
    }
}

/// Converts an entry to the key of its object, so that a listing can be passed to
/// [`Storage::delete_many`](crate::Storage::delete_many). Fails with `InvalidInput` for a common
/// prefix or a folder marker, which are not objects.
impl TryFrom<Entry> for Key {
    type Error = Error;

    fn try_from(entry: Entry) -> Result<Self> {
        match entry {
            Entry::Object(object) => Ok(object.key),
            Entry::Prefix(prefix) => {
                let message =
                    "this is a common prefix of keys, not an object: list without a delimiter";
                Err(Error::new(ErrorKind::InvalidInput, message).with_key(prefix.as_str()))
            }
            Entry::FolderMarker(marker) => {
                let message =
                    "a folder marker is not an object: delete it with delete_folder_marker";
                Err(Error::new(ErrorKind::InvalidInput, message).with_key(marker.as_str()))
            }
        }
    }
}

/// Converts as the entry does. Returns an error of the listing unchanged.
impl TryFrom<Result<Entry>> for Key {
    type Error = Error;

    fn try_from(entry: Result<Entry>) -> Result<Self> {
        entry?.try_into()
    }
}

/// An object of a listing, with what every backend returns without another request.
/// [`stat`](crate::Storage::stat) returns all metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ObjectEntry {
    /// The object's key.
    pub key: Key,
    /// The length of the stored bytes.
    pub size: u64,
    /// The validator of the version, if the backend lists it. It equals the one that `stat`
    /// returns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// When the version was saved.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::timestamp::option")]
    pub last_modified: Option<SystemTime>,
}

impl ObjectEntry {
    /// Creates an entry with a key and a size. Set other fields directly.
    #[must_use]
    pub fn new(key: Key, size: u64) -> Self {
        Self { key, size, etag: None, last_modified: None }
    }
}

/// Applies `delimiter` and `start_after` to a recursive listing that is sorted by key and contains
/// only names that match `prefix`. For drivers whose backend does not apply them, or not every
/// delimiter.
///
/// Errors pass through at their place, except those that
/// [continue the listing](Error::listing_continues) and concern only names before `start_after`.
pub fn roll_up<S>(entries: S, prefix: &Prefix, options: &ListOptions) -> EntryStream
where
    S: Stream<Item = Result<Entry>> + Send + 'static,
{
    let prefix_len = prefix.as_str().len();
    let delimiter = options.delimiter.clone();
    let start_after = options.start_after.clone();
    // Keys with the same prefix are adjacent, so comparing with the last prefix yields each once.
    let mut last_prefix: Option<Prefix> = None;
    let rolled = entries.filter_map(move |entry| {
        future::ready(match entry {
            Ok(entry) => {
                let entry = roll_up_entry(entry, prefix_len, delimiter.as_deref());
                let repeated =
                    matches!(&entry, Entry::Prefix(prefix) if last_prefix.as_ref() == Some(prefix));
                let skipped = start_after.as_deref().is_some_and(|after| entry.name() <= after);
                if let Entry::Prefix(prefix) = &entry {
                    last_prefix = Some(prefix.clone());
                }
                (!repeated && !skipped).then_some(Ok(entry))
            }
            Err(error) => {
                let is_skipped =
                    start_after.as_deref().is_some_and(|after| is_behind(&error, after));
                (!is_skipped).then_some(Err(error))
            }
        })
    });
    rolled.boxed()
}

/// Returns whether an error item of a listing that continues concerns no name after this one.
///
/// An unreadable directory `b/` concerns every key below it, so it also concerns those after `b/5`.
pub(crate) fn is_behind(error: &Error, after: &str) -> bool {
    let Some(name) = error.key().filter(|_| error.listing_continues()) else { return false };
    let is_inside = name.ends_with('/') && after.len() > name.len() && after.starts_with(name);
    name <= after && !is_inside
}

fn roll_up_entry(entry: Entry, prefix_len: usize, delimiter: Option<&str>) -> Entry {
    let Some(delimiter) = delimiter else { return entry };
    let name = entry.name();
    let Some(at) = name.get(prefix_len..).and_then(|rest| rest.find(delimiter)) else {
        return entry;
    };
    match Prefix::new(&name[..prefix_len + at + delimiter.len()]) {
        Ok(prefix) => Entry::Prefix(prefix),
        // The beginning of a key is a valid prefix.
        Err(_) => entry,
    }
}
