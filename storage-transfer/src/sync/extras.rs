//! [`Extra`]: an object that the source lacks, which is deleted after the copies.

use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};
use storage_core::{ETag, Error, ErrorKind, Key, ObjectEntry, Result};

use crate::directory::Directory;
use crate::sort::Record;

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
}

impl Extra {
    pub(crate) fn new(name: &str, range: u64, object: &ObjectEntry) -> Self {
        Self { name: name.to_owned(), range, size: object.size, etag: object.etag.clone() }
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
        if let Some(etag) = &self.etag {
            out.extend_from_slice(etag.to_string().as_bytes());
        }
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        decode(key, value).ok_or_else(|| {
            let message = "a temporary file is damaged: check the disk and run again";
            Error::new(ErrorKind::Integrity, message)
        })
    }
}

fn decode(key: &[u8], value: &[u8]) -> Option<Extra> {
    let (range, value) = value.split_first_chunk()?;
    let (size, etag) = value.split_first_chunk()?;
    let etag = match etag {
        [] => None,
        etag => Some(std::str::from_utf8(etag).ok()?.parse().ok()?),
    };
    Some(Extra {
        name: String::from_utf8(key.to_vec()).ok()?,
        range: u64::from_le_bytes(*range),
        size: u64::from_le_bytes(*size),
        etag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_is_read_as_it_was_written() {
        for etag in [None, ETag::strong("a").ok(), ETag::weak("").ok()] {
            let extra = Extra { name: "a/é".to_owned(), range: 7, size: u64::MAX, etag };
            let mut value = Vec::new();
            extra.encode_value(&mut value);
            assert_eq!(Extra::decode(extra.sort_key(), &value).unwrap(), extra);
            assert!(Extra::decode(extra.sort_key(), &value[..10]).is_err());
        }
    }
}
