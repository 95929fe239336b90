//! What a mirror's answer tells of an object.

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName};
use storage_core::{ETag, Key, Metadata, ObjectMeta, percent_decoded};

/// Before the names of user metadata. The values are percent-encoded.
const USER: &str = "x-storage-meta-";
/// Tells what a cache did (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// How our own mirror server calls itself in it.
const OURS: &str = "anystorage";

/// All that is told of the object; `size` is that of the whole.
pub(crate) fn to_meta(key: Key, size: u64, headers: &HeaderMap) -> ObjectMeta {
    let mut meta = ObjectMeta::new(key, size);
    meta.etag = text(headers, &ETAG)
        .and_then(|text| text.parse().ok())
        .filter(|etag: &ETag| !etag.opaque().is_empty());
    meta.last_modified =
        text(headers, &LAST_MODIFIED).and_then(|text| httpdate::parse_http_date(text).ok());
    meta.metadata = Metadata::from_headers(
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
    );
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(USER).filter(|name| !name.is_empty()) {
            meta.metadata.add_received(name, &percent_decoded(value.as_bytes()));
        }
    }
    meta
}

/// Whether the answer is our own mirror server's, which hands on origin's ETags.
pub(crate) fn is_ours(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_STATUS).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| {
        let name = member.split(';').next().unwrap_or_default().trim();
        name.trim_matches('"').eq_ignore_ascii_case(OURS)
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn all_that_is_told_is_read() {
        let headers = headers(&[
            ("content-type", "text/css"),
            ("content-encoding", "gzip"),
            ("content-disposition", "attachment"),
            ("content-language", "de"),
            ("cache-control", "no-cache"),
            ("expires", "Tue, 02 Oct 2096 07:06:40 GMT"),
            ("last-modified", "Thu, 01 Jan 1970 00:00:07 GMT"),
            ("etag", "\"abc\""),
            ("x-storage-meta-author", "Ada%20L%C3%B6vel%C3%A4ce 100%25"),
            ("x-storage-meta-broken", "%ff"),
        ]);
        let meta = to_meta(Key::new("a.css").unwrap(), 5, &headers);
        let metadata = Metadata::new()
            .content_type("text/css")
            .content_encoding("gzip")
            .content_disposition("attachment")
            .content_language("de")
            .cache_control("no-cache")
            .expires(UNIX_EPOCH + Duration::from_secs(4_000_000_000))
            .user("author", "Ada Löveläce 100%")
            .user("broken", "%ff");
        assert_eq!(meta.metadata, metadata);
        assert_eq!(meta.etag, Some(ETag::strong("abc").unwrap()));
        assert_eq!(meta.last_modified, Some(UNIX_EPOCH + Duration::from_secs(7)));
        assert_eq!(meta.size, 5);
    }

    #[test]
    fn empty_and_invalid_headers_are_read_as_in_every_driver() {
        let read = |pairs| to_meta(Key::new("a").unwrap(), 7, &headers(pairs)).metadata;
        assert_eq!(read(&[("content-encoding", ""), ("cache-control", "")]), Metadata::new());
        assert_eq!(read(&[("expires", "0")]), Metadata::new().expires(UNIX_EPOCH));
        let lines = read(&[("cache-control", "max-age=60"), ("cache-control", "no-store")]);
        assert_eq!(lines, Metadata::new().cache_control("max-age=60, no-store"));
        assert_eq!(
            read(&[("x-storage-meta-a", "b%0d%0ac")]),
            Metadata::new().user("a", "b%0d%0ac")
        );
    }

    #[test]
    fn our_own_server_is_known_by_its_name_in_cache_status() {
        assert!(is_ours(&headers(&[("cache-status", "anystorage; hit")])));
        assert!(is_ours(&headers(&[(
            "cache-status",
            "edge; fwd=miss, \"anystorage\"; fwd=stale; stored"
        )])));
        for other in ["edge; detail=anystorage", "anystorage2; hit", ""] {
            assert!(!is_ours(&headers(&[("cache-status", other)])), "{other}");
        }
        assert!(!is_ours(&HeaderMap::new()));
    }
}
