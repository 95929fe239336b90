//! [`Record`]: what can be sorted and spooled on disk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::{ETag, Error, ErrorKind, Key, ObjectEntry, Result};

/// A value with a key of bytes that can be written to a file and read again.
pub(crate) trait Record: Sized + Send + 'static {
    /// Returns the bytes by which records are sorted.
    fn sort_key(&self) -> &[u8];

    /// Appends all but the key.
    fn encode_value(&self, out: &mut Vec<u8>);

    /// Reads a record again.
    ///
    /// # Errors
    /// `Integrity` if the bytes are not those of a record.
    fn decode(key: &[u8], value: &[u8]) -> Result<Self>;
}

/// The error of a temporary file with other bytes than were written.
pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Integrity, "a temporary file is damaged: check the disk and run again")
}

impl Record for Key {
    fn sort_key(&self) -> &[u8] {
        self.as_str().as_bytes()
    }

    fn encode_value(&self, _: &mut Vec<u8>) {}

    fn decode(key: &[u8], _: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(key).map_err(|_| damaged())?;
        Self::new(text)
    }
}

const HAS_ETAG: u8 = 1;
const HAS_TIME: u8 = 2;
const IS_BEFORE_1970: u8 = 4;

impl Record for ObjectEntry {
    fn sort_key(&self) -> &[u8] {
        self.key.as_str().as_bytes()
    }

    fn encode_value(&self, out: &mut Vec<u8>) {
        let time = self.last_modified.map(|time| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (after, 0),
            Err(before) => (before.duration(), IS_BEFORE_1970),
        });
        let mut flags = if self.etag.is_some() { HAS_ETAG } else { 0 };
        if let Some((_, is_before)) = time {
            flags |= HAS_TIME | is_before;
        }
        out.push(flags);
        out.extend_from_slice(&self.size.to_le_bytes());
        let (since, _) = time.unwrap_or_default();
        out.extend_from_slice(&since.as_secs().to_le_bytes());
        out.extend_from_slice(&since.subsec_nanos().to_le_bytes());
        if let Some(etag) = &self.etag {
            out.extend_from_slice(etag.to_string().as_bytes());
        }
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let key = Key::decode(key, &[])?;
        decode_entry(key, value).ok_or_else(damaged)
    }
}

fn decode_entry(key: Key, value: &[u8]) -> Option<ObjectEntry> {
    let (&flags, value) = value.split_first()?;
    let (size, value) = value.split_first_chunk()?;
    let (seconds, value) = value.split_first_chunk()?;
    let (nanos, etag) = value.split_first_chunk()?;
    let mut entry = ObjectEntry::new(key, u64::from_le_bytes(*size));
    if flags & HAS_TIME != 0 {
        let nanos = Some(u32::from_le_bytes(*nanos)).filter(|nanos| *nanos < 1_000_000_000)?;
        let since = Duration::new(u64::from_le_bytes(*seconds), nanos);
        entry.last_modified = Some(time_at(since, flags & IS_BEFORE_1970 != 0)?);
    }
    if flags & HAS_ETAG != 0 {
        entry.etag = Some(std::str::from_utf8(etag).ok()?.parse::<ETag>().ok()?);
    }
    Some(entry)
}

fn time_at(since: Duration, is_before: bool) -> Option<SystemTime> {
    if is_before { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let times = [
            None,
            Some(UNIX_EPOCH),
            Some(UNIX_EPOCH + Duration::new(1_796_083_200, 123_456_789)),
            Some(UNIX_EPOCH - Duration::new(5, 7)),
        ];
        let etags = [None, ETag::strong("abc-2").ok(), ETag::weak("é").ok(), ETag::strong("").ok()];
        for last_modified in times {
            for etag in &etags {
                let mut entry = ObjectEntry::new(Key::new("a b/é").unwrap(), u64::MAX);
                entry.last_modified = last_modified;
                entry.etag = etag.clone();
                let mut value = Vec::new();
                entry.encode_value(&mut value);
                assert_eq!(ObjectEntry::decode(entry.sort_key(), &value).unwrap(), entry);
            }
        }
    }

    #[test]
    fn damaged_bytes_are_an_integrity_error() {
        let mut value = Vec::new();
        let mut entry = ObjectEntry::new(Key::new("a").unwrap(), 1);
        entry.last_modified = Some(UNIX_EPOCH);
        entry.encode_value(&mut value);
        for len in 0..value.len() {
            let error = ObjectEntry::decode(b"a", &value[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity);
        }
        value[17..21].fill(0xff);
        assert_eq!(ObjectEntry::decode(b"a", &value).unwrap_err().kind(), ErrorKind::Integrity);
        assert_eq!(Key::decode(b"\xff", b"").unwrap_err().kind(), ErrorKind::Integrity);
    }
}
