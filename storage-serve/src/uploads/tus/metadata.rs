//! `Upload-Metadata`: pairs of a name and a value in Base64, separated by commas.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;

use super::headers::one;
use super::respond::Rejection;
use crate::uploads::grant::UploadRequest;

/// The longest header, in bytes.
const MAX_BYTES: usize = 8 << 10;

/// Clients send padding or not.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the metadata of a new upload. Returns it with the header's text, which HEAD repeats.
pub(in crate::uploads) fn read(
    headers: &HeaderMap,
    size: Option<u64>,
) -> Result<(UploadRequest, Option<String>), Rejection> {
    let text = one(headers, "upload-metadata")?.filter(|text| !text.is_empty());
    let metadata = text.map_or_else(|| Ok(BTreeMap::new()), parse)?;
    // `name` and `type` are what Uppy sends beside the two that most clients send. "null" is what
    // it sends for none.
    let value = |names: [&str; 2]| {
        let values = names.iter().filter_map(|name| metadata.get(*name));
        values.into_iter().find(|value| !value.is_empty() && *value != "null").cloned()
    };
    let wanted = UploadRequest {
        file_name: value(["filename", "name"]),
        content_type: value(["filetype", "type"]),
        size,
        metadata,
        is_partial: false,
    };
    Ok((wanted, text.map(str::to_owned)))
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, Rejection> {
    let malformed =
        || Rejection::bad("Upload-Metadata is malformed, too long or not UTF-8.\n".to_owned());
    if text.len() > MAX_BYTES {
        return Err(malformed());
    }
    let mut metadata = BTreeMap::new();
    for pair in text.split(',') {
        let (name, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let value = BASE64.decode(value.trim()).map_err(|_| malformed())?;
        let value = String::from_utf8(value).map_err(|_| malformed())?;
        if name.is_empty() || metadata.insert(name.to_owned(), value).is_some() {
            return Err(malformed());
        }
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read_text(text: &str) -> Result<UploadRequest, Rejection> {
        let mut headers = HeaderMap::new();
        headers.insert("upload-metadata", HeaderValue::from_str(text).unwrap());
        read(&headers, None).map(|(wanted, _)| wanted)
    }

    #[test]
    fn names_and_types_are_read_with_and_without_padding() {
        for text in
            ["filename YS50eHQ=,filetype dGV4dC9wbGFpbg==", "name YS50eHQ,type dGV4dC9wbGFpbg"]
        {
            let wanted = read_text(text).unwrap();
            assert_eq!(wanted.file_name.as_deref(), Some("a.txt"));
            assert_eq!(wanted.content_type.as_deref(), Some("text/plain"));
        }
        // A flag has no value. Uppy sends the text "null" for none.
        let wanted = read_text("flag, filename bnVsbA==").unwrap();
        assert_eq!((wanted.file_name, wanted.metadata["flag"].as_str()), (None, ""));
    }

    #[test]
    fn malformed_metadata_is_rejected() {
        let long = format!("a {}", "YQ".repeat(5000));
        for text in
            [",", "a !", "a YQ==,a YQ==", "a YQ==,", "a /w==", "a Y", " YQ==,b YQ==,,", &long]
        {
            assert!(read_text(text).is_err(), "{text:.40}");
        }
    }
}
