//! [`Extra`]: an object that the source lacks, which is deleted after the copies.

use std::time::{Duration, UNIX_EPOCH};

use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};
use storage_core::{ETag, Key, ObjectEntry, Result};

use crate::directory::Directory;
use crate::sort::{Record, damaged};

/// The extras of a run, in the order of their names.
pub(crate) type ExtraStream = BoxStream<'static, Result<Extra>>;

/// An object that the source lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extra {
    pub(crate) name: String,
    /// The number of the range of keys that it was found in.
    pub(crate) range: u64,
    pub(crate) size: u64,
    pub(crate) etag: Option<ETag>,
    /// When it was modified, as the time since 1970.
    #[serde(default)]
    pub(crate) modified: Option<Duration>,
}

impl Extra {
    pub(crate) fn new(name: &str, range: u64, object: &ObjectEntry) -> Self {
        let modified = object.last_modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let (size, etag) = (object.size, object.etag.clone());
        Self { name: name.to_owned(), range, size, etag, modified }
    }

    /// Returns what the listing contained.
    pub(crate) fn listed(&self, key: Key) -> ObjectEntry {
        let mut listed = ObjectEntry::new(key, self.size);
        listed.etag.clone_from(&self.etag);
        listed.last_modified = self.modified.and_then(|since| UNIX_EPOCH.checked_add(since));
        listed
    }

    pub(crate) fn key(&self, directory: &Directory) -> Result<Key> {
        directory.key(&self.name)
    }
}

impl Record for Extra {
    fn sort_key(&self) -> &[u8] {
        self.name.as_bytes()
    }

    fn encode_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.range.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        // The longest duration stands for an unknown time.
        let modified = self.modified.unwrap_or(Duration::MAX);
        out.extend_from_slice(&modified.as_secs().to_le_bytes());
        out.extend_from_slice(&modified.subsec_nanos().to_le_bytes());
        if let Some(etag) = &self.etag {
            out.extend_from_slice(etag.to_string().as_bytes());
        }
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        decode(key, value).ok_or_else(damaged)
    }
}

fn decode(key: &[u8], value: &[u8]) -> Option<Extra> {
    let (range, value) = value.split_first_chunk()?;
    let (size, value) = value.split_first_chunk()?;
    let (seconds, value) = value.split_first_chunk()?;
    let (nanos, etag) = value.split_first_chunk()?;
    let (seconds, nanos) = (u64::from_le_bytes(*seconds), u32::from_le_bytes(*nanos));
    let modified = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))?;
    let etag = match etag {
        [] => None,
        etag => Some(std::str::from_utf8(etag).ok()?.parse().ok()?),
    };
    Some(Extra {
        name: String::from_utf8(key.to_vec()).ok()?,
        range: u64::from_le_bytes(*range),
        size: u64::from_le_bytes(*size),
        etag,
        modified: Some(modified).filter(|modified| *modified != Duration::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_is_read_as_it_was_written() {
        for etag in [None, ETag::strong("a").ok(), ETag::weak("").ok()] {
            let modified = etag.as_ref().map(|_| Duration::new(7, 999_999_999));
            let extra = Extra { name: "a/é".to_owned(), range: 7, size: u64::MAX, etag, modified };
            let mut value = Vec::new();
            extra.encode_value(&mut value);
            assert_eq!(Extra::decode(extra.sort_key(), &value).unwrap(), extra);
            assert!(Extra::decode(extra.sort_key(), &value[..10]).is_err());
        }
    }
}
