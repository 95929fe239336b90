//! [`EntryMeta`]: what is kept beside a body, and how it is written down.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use storage_core::{Checksums, ETag, Key, Metadata, ObjectMeta};

/// What is known of a kept object, and of how fresh the knowledge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryMeta {
    /// What origin told: size, validators, headers, checksums.
    pub(crate) object: ObjectMeta,
    /// When the body was fetched, in whole milliseconds.
    pub(crate) fetched_at: SystemTime,
    /// When origin last said that the body is current, in whole milliseconds.
    pub(crate) validated_at: SystemTime,
    /// What the server wants to find again. Nothing here looks at it.
    pub(crate) extra: BTreeMap<String, String>,
}

impl EntryMeta {
    /// Of an object that was fetched just now.
    pub(crate) fn fetched(object: ObjectMeta, now: SystemTime) -> Self {
        let now = from_millis(millis(now));
        Self { object, fetched_at: now, validated_at: now, extra: BTreeMap::new() }
    }

    /// How many bytes its texts have, about: what it takes in memory besides its own size.
    pub(super) fn text_len(&self) -> usize {
        const NODE: usize = 64;
        let object = &self.object;
        let metadata = &object.metadata;
        let texts = [
            &metadata.content_type,
            &metadata.content_encoding,
            &metadata.content_disposition,
            &metadata.content_language,
            &metadata.cache_control,
        ];
        let pairs = metadata.user_metadata.iter().chain(&self.extra);
        object.key.as_str().len()
            + object.etag.as_ref().map_or(0, |etag| etag.opaque().len())
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + pairs.map(|(name, value)| name.len() + value.len() + NODE).sum::<usize>()
            + object.checksums.iter().count() * NODE
    }

    /// As JSON, for the entry of this key.
    pub(super) fn to_json(&self, key: &str) -> serde_json::Result<Vec<u8>> {
        let object = self.object.clone();
        serde_json::to_vec(&Written {
            key: key.to_owned(),
            object: (object.key != *key).then_some(object.key),
            size: object.size,
            etag: object.etag,
            last_modified: object.last_modified.and_then(since_epoch),
            metadata: object.metadata,
            checksums: object.checksums,
            fetched_at: millis(self.fetched_at),
            validated_at: millis(self.validated_at),
            extra: self.extra.clone(),
        })
    }

    /// The key of the entry, and the metadata.
    pub(super) fn from_json(json: &[u8]) -> storage_core::Result<(String, Self)> {
        let unreadable = |cause| storage_core::Error::unexpected("the metadata cannot be read", cause);
        let written: Written = serde_json::from_slice(json).map_err(unreadable)?;
        let object_key = written.object.map_or_else(|| Key::new(written.key.as_str()), Ok)?;
        let mut object = ObjectMeta::new(object_key, written.size);
        object.etag = written.etag;
        object.last_modified = written.last_modified.map(|(secs, nanos)| UNIX_EPOCH + Duration::new(secs, nanos));
        object.metadata = written.metadata;
        object.checksums = written.checksums;
        let (fetched_at, validated_at) = (from_millis(written.fetched_at), from_millis(written.validated_at));
        Ok((written.key, Self { object, fetched_at, validated_at, extra: written.extra }))
    }
}

/// What stands in the header of a file.
#[derive(Serialize, Deserialize)]
struct Written {
    key: String,
    /// The object's key, where the entry's is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<Key>,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<ETag>,
    /// Seconds and nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<(u64, u32)>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
    #[serde(default, skip_serializing_if = "Checksums::is_empty")]
    checksums: Checksums,
    /// Milliseconds since 1970.
    fetched_at: u64,
    validated_at: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, String>,
}

/// `None` before 1970, which no HTTP server says and no comparison of validators survives.
fn since_epoch(time: SystemTime) -> Option<(u64, u32)> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    // What could not be added to 1970 again is not to be written.
    UNIX_EPOCH.checked_add(since)?;
    Some((since.as_secs(), since.subsec_nanos()))
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn from_millis(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use storage_core::{Checksum, ChecksumAlgorithm};

    use super::*;

    #[test]
    fn metadata_reads_back_as_it_was() {
        let mut object = ObjectMeta::new(Key::new("a/ü \"quoted\".mp3").unwrap(), 5);
        let bare = EntryMeta::fetched(object.clone(), SystemTime::now());
        object.etag = Some(ETag::weak("v1").unwrap());
        object.last_modified = Some(UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
        object.metadata = Metadata::new().content_type("audio/mpeg").user("name", "Ada Löveläce");
        object.checksums.insert(Checksum::of(ChecksumAlgorithm::Sha256, b"hello"));
        let mut full = EntryMeta::fetched(object, SystemTime::now());
        full.validated_at += Duration::from_millis(1500);
        full.extra.insert("source".to_owned(), "origin".to_owned());
        for meta in [bare, full] {
            for key in [meta.object.key.as_str(), "another/key\0of any kind"] {
                let json = meta.to_json(key).unwrap();
                assert_eq!(EntryMeta::from_json(&json).unwrap(), (key.to_owned(), meta.clone()));
            }
        }
    }

    #[test]
    fn what_is_no_metadata_is_an_error() {
        for json in ["", "{}", "[]", r#"{"key":"","size":0,"fetched_at":0,"validated_at":0}"#] {
            assert!(EntryMeta::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
