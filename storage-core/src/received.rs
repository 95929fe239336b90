//! Reads metadata from the headers of a response, in the same way for every driver.

use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode;

use crate::metadata::Metadata;

/// Describes how a body was sent; some services store it with the object.
const TRANSFER_CODING: &str = "aws-chunked";

impl Metadata {
    /// Reads the standard headers of a response: `Content-Type`, `Content-Encoding`,
    /// `Content-Disposition`, `Content-Language`, `Cache-Control` and `Expires`.
    ///
    /// `headers` are pairs of a name, in any case, and the bytes of its value, in the order of the
    /// response. Other headers are ignored.
    ///
    /// - Values are trimmed, and control characters become spaces (RFC 9110, section 5.5). An empty
    ///   value is an absent one.
    /// - Several lines of `Content-Encoding`, `Content-Language` and `Cache-Control` are one list
    ///   (RFC 9110, section 5.3). Of the other headers the first line counts.
    /// - `aws-chunked` is removed from `Content-Encoding`: it describes how S3 clients sent a body.
    /// - An `Expires` that is no valid HTTP date has passed (RFC 9111, section 5.3) and reads as
    ///   the Unix epoch.
    ///
    /// ```
    /// use storage_core::Metadata;
    ///
    /// let metadata = Metadata::from_headers([("Content-Encoding", &b""[..]), ("Expires", b"0")]);
    /// assert_eq!(metadata.content_encoding, None);
    /// assert_eq!(metadata.expires, Some(std::time::UNIX_EPOCH));
    /// ```
    #[must_use]
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut metadata = Self::new();
        for (name, value) in headers {
            let value = header_text(value);
            if value.is_empty() {
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "content-type" => keep_first(&mut metadata.content_type, value),
                "content-encoding" => append(&mut metadata.content_encoding, value),
                "content-disposition" => keep_first(&mut metadata.content_disposition, value),
                "content-language" => append(&mut metadata.content_language, value),
                "cache-control" => append(&mut metadata.cache_control, value),
                "expires" => keep_first(&mut metadata.expires, expires(&value)),
                _ => {}
            }
        }
        metadata.content_encoding = metadata.content_encoding.and_then(stored_encoding);
        metadata
    }

    /// Adds user metadata that a server sent: control characters become spaces, and surrounding
    /// white space is removed, so that the value obeys the rules of
    /// [`user_metadata`](Self::user_metadata). The name is converted to lower case.
    pub fn add_received(&mut self, name: &str, value: &str) {
        self.user_metadata.insert(name.to_ascii_lowercase(), without_controls(value));
    }
}

/// Converts the value of a header to text without control characters and surrounding white space.
///
/// The bytes are UTF-8, or else Latin-1, in which any byte is a character.
#[must_use]
pub fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => without_controls(text),
        Err(_) => without_controls(&latin_1(value)),
    }
}

/// Decodes the percent-encoded value of an `X-Storage-Meta-` header.
///
/// Returns the value undecoded, as UTF-8 or else Latin-1, if the decoded bytes are no UTF-8 or hold
/// control characters: another program wrote it, and nothing is lost.
#[must_use]
pub fn percent_decoded(value: &[u8]) -> String {
    match percent_decode(value).decode_utf8() {
        Ok(text) if !text.chars().any(char::is_control) => text.into_owned(),
        _ => std::str::from_utf8(value).map_or_else(|_| latin_1(value), str::to_owned),
    }
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn without_controls(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

fn keep_first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn append(slot: &mut Option<String>, line: String) {
    match slot {
        Some(list) => {
            list.push_str(", ");
            list.push_str(&line);
        }
        None => *slot = Some(line),
    }
}

fn expires(value: &str) -> SystemTime {
    match httpdate::parse_http_date(value) {
        Ok(time) => time,
        Err(_) => UNIX_EPOCH,
    }
}

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

    use super::*;

    fn read(pairs: &[(&str, &[u8])]) -> Metadata {
        Metadata::from_headers(pairs.iter().copied())
    }

    #[test]
    fn an_empty_header_is_an_absent_one() {
        let names = [
            "content-type",
            "content-encoding",
            "content-disposition",
            "content-language",
            "cache-control",
            "expires",
        ];
        for value in [&b""[..], b"  ", b"\t"] {
            let read = Metadata::from_headers(names.map(|name| (name, value)));
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
    fn the_coding_of_a_transfer_is_removed_from_the_content_encoding() {
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
    fn an_expires_that_is_no_http_date_has_passed() {
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
    fn the_last_dates_of_http_can_be_saved_again() {
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
    fn several_lines_of_a_list_are_one_list() {
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
    fn no_control_character_of_a_response_is_passed_on() {
        let odd = read(&[
            ("content-disposition", b"attachment;\tfilename=a\x85\x9bb"),
            ("cache-control", b"\xc2\x85"),
        ]);
        assert_eq!(odd.content_disposition.as_deref(), Some("attachment; filename=a  b"));
        assert_eq!(odd.cache_control, None);
        let mut metadata = Metadata::new();
        metadata.add_received("Name", " a\r\nSet-Cookie: b\u{9b} ");
        assert_eq!(metadata.user_metadata["name"], "a  Set-Cookie: b");
        assert!(metadata.validated().is_ok());
    }

    #[test]
    fn percent_encoded_values_that_metadata_cannot_hold_stay_encoded() {
        assert_eq!(percent_decoded(b"L%C3%B6ve"), "Löve");
        for raw in ["100%", "%ff", "a%0d%0ab", "a%C2%85b", "%00"] {
            assert_eq!(percent_decoded(raw.as_bytes()), raw);
        }
        assert_eq!(percent_decoded(b"caf\xe9"), "caf\u{e9}");
        assert_eq!(percent_decoded("café%0a".as_bytes()), "café%0a");
    }
}
