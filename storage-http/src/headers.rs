//! What the headers of an answer tell of an object.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};
use storage_core::{ETag, Error, ErrorKind, Key, Metadata, ObjectMeta, Result, header_text};

use crate::user_metadata;

/// All that an answer to a GET or HEAD tells; `size` is that of the whole object.
pub(crate) fn to_meta(key: Key, size: u64, headers: &HeaderMap) -> ObjectMeta {
    let mut meta = ObjectMeta::new(key, size);
    meta.etag = etag(headers);
    meta.last_modified = date(headers, &LAST_MODIFIED);
    meta.metadata = Metadata::from_headers(
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
    );
    for (name, value) in user_metadata::from_headers(headers) {
        meta.metadata.add_received(&name, &value);
    }
    meta
}

/// An ETag as a header or a document has it.
pub(crate) fn etag_of(text: &str) -> Option<ETag> {
    text.parse().ok().filter(|etag: &ETag| !etag.opaque().is_empty())
}

/// The answer's ETag.
pub(crate) fn etag(headers: &HeaderMap) -> Option<ETag> {
    etag_of(&header_text(headers.get(ETAG)?.as_bytes()))
}

/// A date of the answer, whatever form of RFC 9110, section 5.6.7, it has.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// The length of the answer's body.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    // Beside a transfer coding a length means nothing (RFC 9112, section 6.3).
    if headers.contains_key(http::header::TRANSFER_ENCODING) {
        return None;
    }
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
        .filter(|size| *size != ObjectMeta::UNKNOWN_SIZE)
}

/// The positions in the answer's body, end excluded, and the size of the whole (`bytes 0-99/1234`).
pub fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let (positions, size) =
        headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = positions.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size && size != ObjectMeta::UNKNOWN_SIZE)
        .then(|| (first..last + 1, size))
}

/// The ETag by which the bytes of this answer can be joined with those of another: a strong one,
/// which no other version has.
///
/// Servers of files make ETags of the time in whole seconds and the size (nginx: `"65a1b2c3-1f4"`,
/// in hexadecimal digits), and say that they are strong. They are, once that second is over by the
/// server's own clock (RFC 9110, section 8.8.2.2).
pub(crate) fn proof_of_version(meta: &ObjectMeta, headers: &HeaderMap) -> Option<ETag> {
    let etag = meta.strong_etag()?.clone();
    let Some(modified) = meta.last_modified else { return Some(etag) };
    let seconds =
        modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let is_of_time = etag.opaque().contains(&format!("{seconds:x}"));
    let is_over = date(headers, &DATE).is_some_and(|now| now >= modified + Duration::from_secs(2));
    (!is_of_time || is_over).then_some(etag)
}

/// A value that came from somewhere else than our own code.
///
/// # Errors
/// `InvalidInput` if a header cannot hold it.
pub fn header_value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|cause| {
        Error::new(ErrorKind::InvalidInput, "a header cannot hold this value").with_source(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn key() -> Key {
        Key::new("a").unwrap()
    }

    #[test]
    fn all_that_an_answer_tells_is_taken() {
        let meta = to_meta(
            key(),
            7,
            &headers(&[
                ("content-type", "text/css"),
                ("content-encoding", "gzip"),
                ("content-disposition", "inline"),
                ("content-language", "de"),
                ("cache-control", "no-store"),
                ("expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("last-modified", "Sun, 06 Nov 1994 08:49:36 GMT"),
                ("etag", "W/\"abc\""),
                ("x-storage-meta-author", "Ada%20L%C3%B6vel%C3%A4ce"),
            ]),
        );
        assert_eq!(meta.size, 7);
        assert_eq!(meta.etag, Some(ETag::weak("abc").unwrap()));
        assert_eq!(meta.content_type(), Some("text/css"));
        assert_eq!(meta.metadata.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(meta.metadata.content_disposition.as_deref(), Some("inline"));
        assert_eq!(meta.metadata.content_language.as_deref(), Some("de"));
        assert_eq!(meta.metadata.cache_control.as_deref(), Some("no-store"));
        let second = Duration::from_secs(1);
        assert_eq!(meta.metadata.expires, meta.last_modified.map(|modified| modified + second));
        assert_eq!(meta.metadata.user_metadata["author"], "Ada Löveläce");
    }

    #[test]
    fn empty_and_invalid_headers_are_read_as_in_every_driver() {
        let read =
            |pairs: &[(&'static str, &'static str)]| to_meta(key(), 7, &headers(pairs)).metadata;
        assert_eq!(
            read(&[("content-encoding", "AWS-chunked,"), ("cache-control", "")]),
            Metadata::new()
        );
        assert_eq!(read(&[("expires", "0")]), Metadata::new().expires(SystemTime::UNIX_EPOCH));
        let forged =
            read(&[("x-storage-meta-a", "b%0d%0aSet-Cookie: c"), ("x-storage-meta-d", "%20e")]);
        assert_eq!(forged, Metadata::new().user("a", "b%0d%0aSet-Cookie: c").user("d", "e"));
        assert!(forged.validated().is_ok());
    }

    #[test]
    fn only_a_content_range_that_makes_sense_is_believed() {
        // The byte after it has no number.
        const LAST: &str = "bytes 2-18446744073709551615/18446744073709551615";
        let range = |text: &'static str| content_range(&headers(&[("content-range", text)]));
        assert_eq!(range("bytes 2-4/10"), Some((2..5, 10)));
        for odd in [
            "bytes 0-1/18446744073709551615",
            "bytes 4-2/10",
            "bytes 2-10/10",
            "bytes */10",
            "bytes 2-4/*",
            "2-4/10",
            "bytes -1-4/10",
            LAST,
        ] {
            assert_eq!(range(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_length_beside_a_transfer_coding_means_nothing() {
        assert_eq!(content_length(&headers(&[("content-length", "5")])), Some(5));
        assert_eq!(
            content_length(&headers(&[("content-length", "5"), ("transfer-encoding", "chunked")])),
            None
        );
    }

    #[test]
    fn an_etag_of_time_and_size_proves_nothing_before_its_second_is_over() {
        // 784111777 seconds are 0x2ebc98a1.
        let proof = |etag, modified, now| {
            let headers = headers(&[("etag", etag), ("last-modified", modified), ("date", now)]);
            proof_of_version(&to_meta(key(), 7, &headers), &headers).is_some()
        };
        let (modified, same, later) = (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:38 GMT",
            "Sun, 06 Nov 1994 08:49:39 GMT",
        );
        assert!(!proof("\"2ebc98a1-7\"", modified, same));
        assert!(proof("\"2ebc98a1-7\"", modified, later));
        assert!(proof("\"5d41402abc4b2a76\"", modified, same));
        assert!(!proof("W/\"5d41402abc4b2a76\"", modified, later));
        assert!(!proof("", modified, later));
    }
}
