//! Converts metadata to HTTP headers and back.
//!
//! User metadata is stored as `x-amz-meta-` headers. A value that is not plain ASCII is an encoded
//! word (RFC 2047), which is how S3 returns such values ("Working with object metadata"). Requested
//! checksums are stored as user metadata too, because S3 stores only one checksum and some services
//! store none.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName};
use storage_client::{
    etag, header_text, header_value, http_date, insert_user_metadata, standard_metadata,
};
use storage_core::{
    Checksum, ChecksumAlgorithm, Checksums, ETag, Error, ErrorKind, Key, Metadata, ObjectMeta,
    Result,
};

pub(crate) const USER_PREFIX: &str = "x-amz-meta-";
/// The prefix of the names in the user metadata that the driver reserves. The name of an algorithm
/// follows for a checksum, and `upload` for the nonce of an upload.
const RESERVED_PREFIX: &str = "anystorage-";
/// The user metadata by which the object of an upload of `Storage::multipart` is recognised.
pub(crate) const UPLOAD_NONCE: HeaderName = HeaderName::from_static("x-amz-meta-anystorage-upload");
/// The algorithms of stored checksums.
const ALGORITHMS: [ChecksumAlgorithm; 4] = [
    ChecksumAlgorithm::Sha256,
    ChecksumAlgorithm::Md5,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Crc32c,
];

/// Returns the header of a checksum that S3 verifies. For MD5 that is `Content-MD5`.
pub(crate) fn checksum_header(algorithm: ChecksumAlgorithm) -> Option<HeaderName> {
    match algorithm {
        ChecksumAlgorithm::Sha256 => Some(HeaderName::from_static("x-amz-checksum-sha256")),
        ChecksumAlgorithm::Crc64Nvme => Some(HeaderName::from_static("x-amz-checksum-crc64nvme")),
        ChecksumAlgorithm::Crc32c => Some(HeaderName::from_static("x-amz-checksum-crc32c")),
        ChecksumAlgorithm::Md5 => Some(HeaderName::from_static("content-md5")),
        _ => None,
    }
}

/// Encodes a checksum in base64, as S3's headers and documents contain it.
pub(crate) fn to_base64(checksum: &Checksum) -> String {
    BASE64.encode(checksum.value())
}

/// Returns the headers that store metadata and checksums with an object.
pub(crate) fn from_metadata(
    metadata: &Metadata,
    checksums: &Checksums,
    underscores: bool,
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8);
    let standard = [
        (CONTENT_TYPE, &metadata.content_type),
        (CONTENT_ENCODING, &metadata.content_encoding),
        (CONTENT_DISPOSITION, &metadata.content_disposition),
        (CONTENT_LANGUAGE, &metadata.content_language),
        (CACHE_CONTROL, &metadata.cache_control),
    ];
    for (name, value) in standard {
        if let Some(value) = value {
            headers.insert(name, header_value(value)?);
        }
    }
    if let Some(expires) = metadata.expires {
        headers.insert(EXPIRES, header_value(&httpdate::fmt_http_date(expires))?);
    }
    for (name, value) in &metadata.user_metadata {
        if name.starts_with(RESERVED_PREFIX) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "user_metadata {name:?}: the driver reserves names that begin with {RESERVED_PREFIX}: choose another name"
                ),
            ));
        }
        if !underscores && name.contains('_') {
            return Err(Error::unsupported(format!(
                "user_metadata {name:?}: this service changes underscores to hyphens: use a hyphen in the name"
            )));
        }
        headers.insert(user_header(name)?, header_value(&encode_word(value))?);
    }
    insert_checksums(&mut headers, checksums)?;
    Ok(headers)
}

/// Adds the headers that store checksums with an object.
pub(crate) fn insert_checksums(headers: &mut HeaderMap, checksums: &Checksums) -> Result<()> {
    for checksum in checksums.iter() {
        let name = user_header(&format!("{RESERVED_PREFIX}{}", checksum.algorithm()))?;
        headers.insert(name, header_value(&checksum.to_hex())?);
    }
    Ok(())
}

fn user_header(name: &str) -> Result<HeaderName> {
    HeaderName::from_str(&format!("{USER_PREFIX}{name}")).map_err(|cause| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("user_metadata {name:?}: no header can have this name"),
        )
        .with_source(cause)
    })
}

/// Returns plain ASCII unchanged and any other text as an encoded word. A text that looks like an
/// encoded word is encoded too, so that it is read back unchanged.
fn encode_word(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !value.contains("=?");
    if is_plain { value.to_owned() } else { format!("=?UTF-8?B?{}?=", BASE64.encode(value)) }
}

/// Decodes encoded words of this and other clients: `=?UTF-8?B?...?=` and `=?UTF-8?Q?...?=`, one or
/// several separated by white space (RFC 2047, section 6.2). Any other value is returned unchanged,
/// and so is one that would decode to control characters, which metadata cannot contain.
fn decode_words(value: &str) -> String {
    let words = value.split_ascii_whitespace().map(decode_word);
    let decoded = match words.collect::<Option<Vec<_>>>() {
        // A character may be split between two words, so the bytes are joined first.
        Some(words) if !words.is_empty() => String::from_utf8(words.concat()).ok(),
        _ => None,
    };
    decoded.filter(|text| !text.chars().any(char::is_control)).unwrap_or_else(|| value.to_owned())
}

fn decode_word(word: &str) -> Option<Vec<u8>> {
    let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("us-ascii") {
        return None;
    }
    match encoding {
        "B" | "b" => BASE64.decode(text).ok(),
        "Q" | "q" => decode_q(text),
        _ => None,
    }
}

/// Decodes the Q encoding (RFC 2047, section 4.2).
fn decode_q(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'_' => b' ',
            b'=' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(decoded)
}

/// Reads an object's metadata from the response to a GET or HEAD. `size` is that of the whole
/// object.
pub(crate) fn to_object_meta(key: Key, size: u64, headers: &HeaderMap) -> ObjectMeta {
    let mut meta = ObjectMeta::new(key, size);
    meta.etag = etag(headers);
    meta.last_modified = http_date(headers, &LAST_MODIFIED);
    meta.metadata = standard_metadata(headers);
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(USER_PREFIX) {
            add_user_metadata(&mut meta, name, &header_text(value.as_bytes()));
        }
    }
    add_native_checksums(&mut meta, headers);
    meta
}

fn add_user_metadata(meta: &mut ObjectMeta, name: &str, value: &str) {
    if UPLOAD_NONCE.as_str().strip_prefix(USER_PREFIX) == Some(name) {
        return;
    }
    let known = name
        .strip_prefix(RESERVED_PREFIX)
        .and_then(|algorithm| ChecksumAlgorithm::from_str(algorithm).ok());
    match known {
        Some(algorithm) => {
            if let Ok(checksum) = format!("{algorithm}:{value}").parse() {
                meta.checksums.insert(checksum);
            }
        }
        None => {
            insert_user_metadata(&mut meta.metadata, name, &decode_words(value));
        }
    }
}

/// Adds the checksums that the service stores for the whole object. A `COMPOSITE` checksum covers
/// the checksums of parts and is ignored.
fn add_native_checksums(meta: &mut ObjectMeta, headers: &HeaderMap) {
    if headers.get("x-amz-checksum-type").is_some_and(|kind| kind == "COMPOSITE") {
        return;
    }
    for algorithm in ALGORITHMS.into_iter().filter(|it| *it != ChecksumAlgorithm::Md5) {
        if let Some(checksum) = native_checksum(headers, algorithm) {
            meta.checksums.insert(checksum);
        }
    }
}

/// Returns the checksum that the service computed or verified.
pub(crate) fn native_checksum(
    headers: &HeaderMap,
    algorithm: ChecksumAlgorithm,
) -> Option<Checksum> {
    let value = headers.get(checksum_header(algorithm)?)?.to_str().ok()?;
    // A composite checksum ends in a hyphen and the number of parts, which is not base64.
    Checksum::new(algorithm, BASE64.decode(value).ok()?).ok()
}

/// Returns the checksums among an object's user metadata. A copy with other metadata must repeat
/// them.
pub(crate) fn stored_checksums(headers: &HeaderMap) -> Checksums {
    let stored = ALGORITHMS.into_iter().filter_map(|algorithm| {
        let value =
            headers.get(format!("{USER_PREFIX}{RESERVED_PREFIX}{algorithm}"))?.to_str().ok()?;
        format!("{algorithm}:{value}").parse::<Checksum>().ok()
    });
    stored.collect()
}

/// Returns the ETag of an object that was just saved. A response without one shows that the server
/// does not implement S3.
pub(crate) fn saved_etag(headers: &HeaderMap) -> Result<ETag> {
    etag(headers).ok_or_else(|| {
        let message =
            "the response contains no ETag of the saved object: is the endpoint an S3 service?";
        Error::new(ErrorKind::Unexpected, message)
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::HeaderValue;

    use super::*;

    fn key() -> Key {
        Key::new("a").unwrap()
    }

    #[test]
    fn metadata_reads_back_as_it_was_stored() {
        let expires = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
        let metadata = Metadata::new()
            .content_type("text/css")
            .content_encoding("gzip")
            .content_disposition("attachment; filename=\"a.css\"")
            .content_language("de")
            .cache_control("no-store")
            .expires(expires)
            .user("plain", "a b")
            .user("umlaut", "Löveläce, Ada")
            .user("like-a-word", "=?UTF-8?B?eA==?=")
            .user("empty", "");
        let checksums: Checksums =
            ALGORITHMS.into_iter().map(|algorithm| Checksum::of(algorithm, b"x")).collect();
        let headers = from_metadata(&metadata, &checksums, true).unwrap();
        let meta = to_object_meta(key(), 1, &headers);
        assert_eq!(meta.metadata, metadata);
        assert_eq!(meta.checksums, checksums);
        assert_eq!(stored_checksums(&headers), checksums);
    }

    #[test]
    fn the_nonce_of_an_upload_is_reserved_and_no_user_metadata() {
        let metadata = Metadata::new().user("anystorage-upload", "0af");
        let error = from_metadata(&metadata, &Checksums::new(), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let headers = [(UPLOAD_NONCE, HeaderValue::from_static("0af"))].into_iter().collect();
        assert!(to_object_meta(key(), 1, &headers).metadata.user_metadata.is_empty());
    }

    #[test]
    fn encoded_words_of_other_clients_are_read() {
        assert_eq!(decode_words("=?UTF-8?Q?L=C3=B6ve_l=C3=A4ce?="), "Löve läce");
        assert_eq!(decode_words("=?utf-8?b?w6k=?= =?UTF-8?B?w6k=?="), "éé");
        for odd in [
            "=?UTF-8?B?***?=",
            "=?latin-1?Q?=E9?=",
            "=?UTF-8?X?a?=",
            "=?UTF-8?B?/w==?=",
            "a =?UTF-8?B?w6k=?=",
        ] {
            assert_eq!(decode_words(odd), odd);
        }
    }

    #[test]
    fn a_reserved_metadata_name_is_refused() {
        let own = Metadata::new().user("anystorage-sha256", "x");
        assert_eq!(
            from_metadata(&own, &Checksums::new(), true).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        let underscore = Metadata::new().user("a_b", "x");
        assert!(from_metadata(&underscore, &Checksums::new(), true).is_ok());
        assert_eq!(
            from_metadata(&underscore, &Checksums::new(), false).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }

    #[test]
    fn checksums_of_parts_do_not_count_for_the_object() {
        let mut headers = HeaderMap::new();
        let sum = to_base64(&Checksum::of(ChecksumAlgorithm::Sha256, b"x"));
        headers.insert("x-amz-checksum-sha256", header_value(&sum).unwrap());
        assert_eq!(to_object_meta(key(), 1, &headers).checksums.iter().count(), 1);
        headers.insert("x-amz-checksum-type", HeaderValue::from_static("COMPOSITE"));
        assert!(to_object_meta(key(), 1, &headers).checksums.is_empty());
        headers.remove("x-amz-checksum-type");
        headers.insert("x-amz-checksum-sha256", header_value(&format!("{sum}-3")).unwrap());
        assert!(to_object_meta(key(), 1, &headers).checksums.is_empty());
    }

    fn read(pairs: &[(&'static str, &'static str)]) -> Metadata {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        to_object_meta(key(), 1, &headers).metadata
    }

    #[test]
    fn the_transfer_coding_aws_chunked_is_not_part_of_the_metadata() {
        let encoding = |value| read(&[("content-encoding", value)]).content_encoding;
        for none in ["", "aws-chunked", "aws-chunked,", "AWS-Chunked"] {
            assert_eq!(encoding(none), None, "{none}");
        }
        assert_eq!(encoding("gzip,aws-chunked"), Some("gzip".to_owned()));
        assert_eq!(encoding("gzip"), Some("gzip".to_owned()));
    }

    #[test]
    fn an_invalid_expires_is_a_time_in_the_past() {
        for odd in ["0", "Sun, 06 Nov 1994 8:49:37 GMT"] {
            assert_eq!(
                read(&[("expires", odd)]),
                Metadata::new().expires(SystemTime::UNIX_EPOCH),
                "{odd}"
            );
        }
        assert_eq!(read(&[("expires", "")]), Metadata::new());
    }

    #[test]
    fn encoded_words_with_control_characters_stay_encoded() {
        // "\r\nSet-Cookie: a=b", a tab between letters, and U+0085.
        for word in
            ["=?UTF-8?B?DQpTZXQtQ29va2llOiBhPWI=?=", "=?UTF-8?Q?a=09b?=", "=?UTF-8?B?woU=?="]
        {
            let metadata = read(&[("x-amz-meta-a", word)]);
            assert_eq!(metadata, Metadata::new().user("a", word));
            assert!(metadata.validated().is_ok());
        }
        assert_eq!(read(&[("x-amz-meta-a", "=?UTF-8?Q?_b_?=")]), Metadata::new().user("a", "b"));
    }
}
