//! `Upload-Checksum`: an algorithm and a value in Base64.

use base64::Engine as _;
use http::HeaderMap;

use super::headers::one;
use super::metadata::BASE64;
use super::respond::Rejection;
use crate::uploads::engine::{ALGORITHMS, ExpectedChecksum};

/// Reads the checksum of a body.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<ExpectedChecksum>, Rejection> {
    let Some(text) = one(headers, "upload-checksum")? else { return Ok(None) };
    let checksum = text.split_once(' ').and_then(|(algorithm, value)| {
        ExpectedChecksum::new(algorithm, BASE64.decode(value.trim()).ok()?)
    });
    match checksum {
        Some(checksum) => Ok(Some(checksum)),
        None => Err(Rejection::bad(format!(
            "Upload-Checksum is malformed, or its algorithm is none of {ALGORITHMS}.\n"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_accepted(text: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("upload-checksum", HeaderValue::from_static(text));
        matches!(read(&headers), Ok(Some(_)))
    }

    #[test]
    fn only_known_algorithms_with_values_of_their_length_are_accepted() {
        assert!(matches!(read(&HeaderMap::new()), Ok(None)));
        assert!(is_accepted("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="));
        assert!(is_accepted("crc32 AAAAAA=="));
        for text in
            ["", "sha1", "sha1 ", "sha1 AAAA", "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "x AA=="]
        {
            assert!(!is_accepted(text), "{text}");
        }
    }
}
