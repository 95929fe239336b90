//! [`EntryMeta`]: the metadata stored with a body, and its JSON form.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use storage_core::{Checksums, ETag, Key, Metadata, ObjectMeta, ResponseMeta};

/// Backward steps of the clock that are shorter than this are ignored.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The metadata of a stored object, and when origin last confirmed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryMeta {
    /// The metadata from origin: size, validators, headers, checksums.
    pub(crate) object: ObjectMeta,
    /// When the body was fetched, in whole milliseconds.
    pub(crate) fetched_at: SystemTime,
    /// When origin last confirmed that the body is current, in whole milliseconds.
    pub(crate) validated_at: SystemTime,
    /// The age that origin's response had then, in whole milliseconds: more than zero where origin
    /// is a cache itself (RFC 9111, section 4.2.3).
    pub(crate) age: Duration,
    /// The `Date` of that response, in whole milliseconds: `Expires` counts from it (RFC 9111,
    /// section 4.2.1). `None` where origin is not an HTTP server.
    pub(crate) date: Option<SystemTime>,
    /// Values for the callers of the store, which does not read them.
    pub(crate) extra: BTreeMap<String, String>,
}

impl EntryMeta {
    /// Returns the metadata of an object that was fetched at `now`.
    pub(crate) fn fetched(object: ObjectMeta, now: SystemTime) -> Self {
        let response = object.response;
        let now = from_millis(millis(now));
        let (age, date) = (Duration::ZERO, None);
        let mut meta =
            Self { object, fetched_at: now, validated_at: now, age, date, extra: BTreeMap::new() };
        meta.validated(now, response);
        meta
    }

    /// Records that origin confirmed the body at `now`, with this response.
    pub(crate) fn validated(&mut self, now: SystemTime, response: Option<ResponseMeta>) {
        self.validated_at = from_millis(millis(now));
        let age = response.map_or(Duration::ZERO, |response| response.age);
        self.age = Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self.date = response.map(|response| from_millis(millis(response.date)));
    }

    /// Returns the age and the date of the response that last confirmed the metadata.
    pub(crate) fn response(&self) -> Option<ResponseMeta> {
        self.date.map(|date| ResponseMeta::new(self.age, date))
    }

    /// Returns the time from which `Expires` counts: the `Date` of the response, or the time of its
    /// arrival if it has none.
    pub(crate) fn response_date(&self) -> SystemTime {
        self.date.unwrap_or(self.validated_at)
    }

    /// Returns the age of the response at a time (`current_age`, RFC 9111, section 4.2.3), which is
    /// at least the age on arrival. Returns `Duration::MAX` for a response from the future, because
    /// the clock was set back; steps of less than a minute are ignored.
    pub(crate) fn age_at(&self, now: SystemTime) -> Duration {
        match now.duration_since(self.validated_at) {
            Ok(kept_for) => self.age.saturating_add(kept_for),
            Err(ahead) if ahead.duration() < CLOCK_TOLERANCE => self.age,
            Err(_) => Duration::MAX,
        }
    }

    /// Returns the approximate bytes of memory that the metadata takes besides its own size.
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

    /// Encodes the metadata of the entry of this key as JSON.
    pub(super) fn to_json(&self, key: &str) -> serde_json::Result<Vec<u8>> {
        let mut object = self.object.clone();
        // In seconds, because the text form cannot express the last days of 9999.
        let expires = object.metadata.expires.take();
        serde_json::to_vec(&StoredMeta {
            key: key.to_owned(),
            object: (object.key != *key).then_some(object.key),
            size: object.size,
            etag: object.etag,
            last_modified: object.last_modified.and_then(since_epoch),
            metadata: object.metadata,
            expires: expires.and_then(since_epoch).map(|(seconds, _)| seconds),
            checksums: object.checksums,
            fetched_at: millis(self.fetched_at),
            validated_at: millis(self.validated_at),
            age: self.age.as_millis() as u64,
            date: self.date.map(millis),
            extra: self.extra.clone(),
        })
    }

    /// Decodes the key of the entry and the metadata from JSON.
    pub(super) fn from_json(json: &[u8]) -> storage_core::Result<(String, Self)> {
        let unreadable =
            |cause| storage_core::Error::unexpected("the metadata cannot be read", cause);
        let written: StoredMeta = serde_json::from_slice(json).map_err(unreadable)?;
        let object_key = written.object.map_or_else(|| Key::new(written.key.as_str()), Ok)?;
        let mut object = ObjectMeta::new(object_key, written.size);
        object.etag = written.etag;
        object.last_modified = written.last_modified.and_then(|(secs, nanos)| {
            let whole = UNIX_EPOCH.checked_add(Duration::from_secs(secs))?;
            whole.checked_add(Duration::from_nanos(u64::from(nanos)))
        });
        object.metadata = written.metadata;
        if let Some(seconds) = written.expires {
            object.metadata.expires = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        }
        object.checksums = written.checksums;
        let (fetched_at, validated_at) =
            (from_millis(written.fetched_at), from_millis(written.validated_at));
        let (age, date) = (Duration::from_millis(written.age), written.date.map(from_millis));
        Ok((
            written.key,
            Self { object, fetched_at, validated_at, age, date, extra: written.extra },
        ))
    }
}

/// The JSON form of the metadata in the header of a file.
#[derive(Serialize, Deserialize)]
struct StoredMeta {
    key: String,
    /// The key of the object, if it differs from that of the entry.
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
    /// Seconds since 1970. Files of earlier versions contain it as text in `metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Checksums::is_empty")]
    checksums: Checksums,
    /// Milliseconds since 1970.
    fetched_at: u64,
    validated_at: u64,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    age: u64,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Returns the seconds and nanoseconds since 1970, and `None` for earlier times, which no HTTP
/// server sends.
fn since_epoch(time: SystemTime) -> Option<(u64, u32)> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    // A time that `from_json` could not restore is not written.
    UNIX_EPOCH.checked_add(since)?;
    Some((since.as_secs(), since.subsec_nanos()))
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
        // The last second of an HTTP date. RFC 3339 cannot express it in every time zone.
        object.metadata.expires = Some(UNIX_EPOCH + Duration::from_secs(253_402_300_799));
        object.response = Some(ResponseMeta::new(
            Duration::from_millis(59_500),
            UNIX_EPOCH + Duration::from_secs(7),
        ));
        let mut full = EntryMeta::fetched(object, SystemTime::now());
        assert_eq!(
            (full.age.as_millis(), full.date),
            (59_500, Some(UNIX_EPOCH + Duration::from_secs(7)))
        );
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
    fn metadata_of_an_earlier_version_is_read() {
        let json =
            br#"{"key":"a","size":1,"metadata":{"expires":"2096-10-02T07:06:40Z"},"fetched_at":1,"validated_at":2}"#;
        let (_, meta) = EntryMeta::from_json(json).unwrap();
        assert_eq!(
            meta.object.metadata.expires,
            Some(UNIX_EPOCH + Duration::from_secs(4_000_000_000))
        );
        assert_eq!((meta.age, meta.date), (Duration::ZERO, None));
    }

    #[test]
    fn the_age_is_the_age_on_arrival_plus_the_time_since() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut object = ObjectMeta::new(Key::new("a").unwrap(), 1);
        object.response = Some(ResponseMeta::new(Duration::from_secs(59), now));
        let meta = EntryMeta::fetched(object, now);
        let seconds = Duration::from_secs;
        assert_eq!(meta.age_at(now), seconds(59));
        assert_eq!(meta.age_at(now + seconds(10)), seconds(69));
        assert_eq!(meta.age_at(now - seconds(30)), seconds(59), "a small backward step");
        assert_eq!(meta.age_at(now - seconds(3600)), Duration::MAX, "a clock that was set back");
    }

    #[test]
    fn invalid_metadata_is_an_error() {
        for json in ["", "{}", "[]", r#"{"key":"","size":0,"fetched_at":0,"validated_at":0}"#] {
            assert!(EntryMeta::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
