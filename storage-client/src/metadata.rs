//! Reads metadata from the headers of a response, in the same way for all drivers.

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
    LAST_MODIFIED,
};
use percent_encoding::percent_decode;
use storage_core::{Key, Metadata, ObjectMeta};

use crate::headers::{etag, header_text, http_date, latin_1, without_controls};

/// A coding that S3 clients use to send a body. Some services store it with the object.
const TRANSFER_CODING: &str = "aws-chunked";
/// The prefix of headers with user metadata, as `storage-serve` writes them.
const USER_METADATA: &str = "x-storage-meta-";

/// Reads the metadata of an object from the response to a GET or HEAD. `size` is the size of the
/// whole object.
///
/// Reads `ETag`, `Last-Modified`, the [`standard_metadata`] and the user metadata in
/// `X-Storage-Meta-` headers.
#[must_use]
pub fn object_meta(key: Key, size: u64, headers: &HeaderMap) -> ObjectMeta {
    let mut meta = ObjectMeta::new(key, size);
    meta.etag = etag(headers);
    meta.last_modified = http_date(headers, &LAST_MODIFIED);
    meta.metadata = standard_metadata(headers);
    add_user_metadata(&mut meta.metadata, headers);
    meta
}

/// Reads the standard headers of a response: `Content-Type`, `Content-Encoding`,
/// `Content-Disposition`, `Content-Language`, `Cache-Control` and `Expires`.
///
/// - Values are trimmed, and control characters become spaces (RFC 9110, section 5.5). An empty
///   value counts as absent.
/// - Several lines of `Content-Encoding`, `Content-Language` or `Cache-Control` are joined to one
///   list (RFC 9110, section 5.3). Of any other header, the first line that is not empty counts.
/// - `aws-chunked` is removed from `Content-Encoding`, because it describes how an S3 client sent
///   the body.
/// - An `Expires` that is not a valid HTTP date becomes the Unix epoch, because it means a time in
///   the past (RFC 9111, section 5.3).
#[must_use]
pub fn standard_metadata(headers: &HeaderMap) -> Metadata {
    let lines = |name| {
        let values = headers.get_all(name).iter().map(|value| header_text(value.as_bytes()));
        values.filter(|value| !value.is_empty())
    };
    let first = |name| lines(name).next();
    let list = |name| Some(lines(name).collect::<Vec<_>>().join(", ")).filter(|l| !l.is_empty());
    let mut metadata = Metadata::new();
    metadata.content_type = first(CONTENT_TYPE);
    metadata.content_encoding = list(CONTENT_ENCODING).and_then(stored_encoding);
    metadata.content_disposition = first(CONTENT_DISPOSITION);
    metadata.content_language = list(CONTENT_LANGUAGE);
    metadata.cache_control = list(CACHE_CONTROL);
    metadata.expires = first(EXPIRES).map(|value| expires(&value));
    metadata
}

/// Adds the user metadata of a response: `X-Storage-Meta-<name>`, whose values are percent-encoded
/// UTF-8. [`percent_decoded`] describes how other values are read. Of several headers with one
/// name, the last counts.
pub fn add_user_metadata(metadata: &mut Metadata, headers: &HeaderMap) {
    for (name, value) in headers {
        let name = name.as_str().strip_prefix(USER_METADATA).filter(|name| !name.is_empty());
        if let Some(name) = name {
            insert_user_metadata(metadata, name, &percent_decoded(value.as_bytes()));
        }
    }
}

/// Adds an entry from a server to the user metadata.
///
/// The name is converted to lower case. In the value, control characters become spaces and
/// surrounding white space is removed, so that it obeys the rules of
/// [`user_metadata`](Metadata::user_metadata).
pub fn insert_user_metadata(metadata: &mut Metadata, name: &str, value: &str) {
    metadata.user_metadata.insert(name.to_ascii_lowercase(), without_controls(value));
}

/// Decodes the percent-encoded value of an `X-Storage-Meta-` header.
///
/// If the decoded bytes are not UTF-8 or contain control characters, another program wrote the
/// value. It is then returned undecoded, as UTF-8 or else Latin-1.
#[must_use]
pub fn percent_decoded(value: &[u8]) -> String {
    match percent_decode(value).decode_utf8() {
        Ok(text) if !text.chars().any(char::is_control) => text.into_owned(),
        _ => std::str::from_utf8(value).map_or_else(|_| latin_1(value), str::to_owned),
    }
}

fn expires(value: &str) -> SystemTime {
    httpdate::parse_http_date(value).unwrap_or(UNIX_EPOCH)
}

/// Returns a list of codings without those that describe how the body was sent.
fn stored_encoding(list: String) -> Option<String> {
    let codings = || list.split(',').map(str::trim);
    let is_stored =
        |coding: &&str| !coding.is_empty() && !coding.eq_ignore_ascii_case(TRANSFER_CODING);
    if codings().all(|coding| is_stored(&coding)) {
        return Some(list);
    }
    let stored: Vec<_> = codings().filter(is_stored).collect();
    (!stored.is_empty()).then(|| stored.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue};
    use storage_core::ETag;

    use super::*;

    fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        headers
    }

    fn read(pairs: &[(&str, &[u8])]) -> Metadata {
        standard_metadata(&headers(pairs))
    }

    #[test]
    fn an_empty_header_counts_as_absent() {
        let names = [
            "content-type",
            "content-encoding",
            "content-disposition",
            "content-language",
            "cache-control",
            "expires",
        ];
        for value in [&b""[..], b"  ", b"\t"] {
            let read = read(&names.map(|name| (name, value)));
            assert_eq!(read, Metadata::new(), "{value:?}");
        }
        assert_eq!(
            read(&[("cache-control", b""), ("cache-control", b"no-store")]).cache_control.unwrap(),
            "no-store"
        );
        assert_eq!(
            read(&[("content-type", b""), ("content-type", b"a/b")]).content_type.unwrap(),
            "a/b"
        );
    }

    #[test]
    fn aws_chunked_is_removed_from_content_encoding() {
        let encoding =
            |value: &str| read(&[("Content-Encoding", value.as_bytes())]).content_encoding;
        for none in ["aws-chunked", "aws-chunked,", "AWS-Chunked", ",", " , aws-chunked ,"] {
            assert_eq!(encoding(none), None, "{none}");
        }
        for gzip in
            ["gzip", "gzip,aws-chunked", "aws-chunked, gzip", "gzip,", "gzip , Aws-Chunked,"]
        {
            assert_eq!(encoding(gzip).as_deref(), Some("gzip"), "{gzip}");
        }
        assert_eq!(encoding("gzip,br").as_deref(), Some("gzip,br"));
        let lines = read(&[("content-encoding", b"aws-chunked"), ("content-encoding", b"gzip")]);
        assert_eq!(lines.content_encoding.as_deref(), Some("gzip"));
    }

    #[test]
    fn an_invalid_expires_is_read_as_the_unix_epoch() {
        let expires = |value: &str| read(&[("expires", value.as_bytes())]).expires;
        for odd in [
            "0",
            "-1",
            "never",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "1994-11-06",
        ] {
            assert_eq!(expires(odd), Some(UNIX_EPOCH), "{odd}");
        }
        let time = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(expires(form), time, "{form}");
        }
        assert_eq!(
            read(&[("expires", b"0"), ("expires", b"Sun, 06 Nov 1994 08:49:37 GMT")]).expires,
            Some(UNIX_EPOCH)
        );
    }

    #[test]
    fn the_last_date_of_http_is_rounded_down_when_it_is_saved_again() {
        let read = read(&[("expires", b"Fri, 31 Dec 9999 23:59:59 GMT")]);
        assert_eq!(httpdate::fmt_http_date(read.expires.unwrap()), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert!(serde_json::to_string(&read).unwrap().contains("9999-12-30T21:59:59Z"));
        let saved = read.validated().unwrap();
        assert_eq!(
            httpdate::fmt_http_date(saved.expires.unwrap()),
            "Thu, 30 Dec 9999 21:59:59 GMT"
        );
    }

    #[test]
    fn several_lines_of_a_list_header_are_one_list() {
        let read = read(&[
            ("Cache-Control", b"max-age=60"),
            ("cache-control", b"private"),
            ("content-language", b"de"),
            ("content-language", b"en"),
            ("content-type", b"text/css"),
            ("content-type", b"text/html"),
        ]);
        assert_eq!(read.cache_control.as_deref(), Some("max-age=60, private"));
        assert_eq!(read.content_language.as_deref(), Some("de, en"));
        assert_eq!(read.content_type.as_deref(), Some("text/css"));
    }

    #[test]
    fn control_characters_of_a_response_become_spaces() {
        let odd = read(&[
            ("content-disposition", b"attachment;\tfilename=a\x85\x9bb"),
            ("cache-control", b"\xc2\x85"),
        ]);
        assert_eq!(odd.content_disposition.as_deref(), Some("attachment; filename=a  b"));
        assert_eq!(odd.cache_control, None);
        let mut metadata = Metadata::new();
        insert_user_metadata(&mut metadata, "Name", " a\r\nSet-Cookie: b\u{9b} ");
        assert_eq!(metadata.user_metadata["name"], "a  Set-Cookie: b");
        assert!(metadata.validated().is_ok());
    }

    #[test]
    fn percent_encoded_values_that_metadata_cannot_contain_stay_encoded() {
        assert_eq!(percent_decoded(b"L%C3%B6ve"), "Löve");
        for raw in ["100%", "%ff", "a%0d%0ab", "a%C2%85b", "%00"] {
            assert_eq!(percent_decoded(raw.as_bytes()), raw);
        }
        assert_eq!(percent_decoded(b"caf\xe9"), "caf\u{e9}");
        assert_eq!(percent_decoded("café%0a".as_bytes()), "café%0a");
    }

    #[test]
    fn all_metadata_of_a_response_is_read() {
        let meta = object_meta(
            Key::new("a").unwrap(),
            7,
            &headers(&[
                ("content-type", b"text/css"),
                ("content-encoding", b"gzip"),
                ("content-disposition", b"inline"),
                ("content-language", b"de"),
                ("cache-control", b"no-store"),
                ("expires", b"Sun, 06 Nov 1994 08:49:37 GMT"),
                ("last-modified", b"Sun, 06 Nov 1994 08:49:36 GMT"),
                ("etag", b"W/\"abc\""),
                ("x-storage-meta-author", b"Ada%20L%C3%B6vel%C3%A4ce"),
            ]),
        );
        let modified = UNIX_EPOCH + Duration::from_secs(784_111_776);
        assert_eq!((meta.size, meta.last_modified), (7, Some(modified)));
        assert_eq!(meta.etag, Some(ETag::weak("abc").unwrap()));
        let metadata = Metadata::new()
            .content_type("text/css")
            .content_encoding("gzip")
            .content_disposition("inline")
            .content_language("de")
            .cache_control("no-store")
            .expires(modified + Duration::from_secs(1))
            .user("author", "Ada Löveläce");
        assert_eq!(meta.metadata, metadata);
    }

    #[test]
    fn user_metadata_of_an_unknown_server_is_read_undecoded() {
        let read = |value: &[u8]| {
            let mut metadata = Metadata::new();
            add_user_metadata(&mut metadata, &headers(&[("X-Storage-Meta-A", value)]));
            assert!(metadata.clone().validated().is_ok());
            metadata.user_metadata.remove("a").unwrap()
        };
        assert_eq!(read(b"100%"), "100%");
        assert_eq!(read(b"caf\xe9"), "caf\u{e9}");
        assert_eq!(read(b"b%0d%0aSet-Cookie: c"), "b%0d%0aSet-Cookie: c");
        assert_eq!(read(b"%20e"), "e");
    }

    #[test]
    fn other_headers_are_not_user_metadata() {
        let mut metadata = Metadata::new();
        let others: &[(&str, &[u8])] =
            &[("x-storage-meta-", b"a"), ("x-storage-method", b"b"), ("x-amz-meta-c", b"c")];
        add_user_metadata(&mut metadata, &headers(others));
        assert_eq!(metadata, Metadata::new());
    }
}
