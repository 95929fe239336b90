//! The documents of the S3 API that this driver reads and writes.

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage_core::{Error, Result};

/// Reads a document.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()
}

/// Reads the document of an answer that said success, by the name of its root: what else there is may look like an empty
/// listing, or like success without a word.
pub(crate) fn answer<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T> {
    let document = if root(body).as_deref() == Some(name) { read(body) } else { None };
    document.ok_or_else(|| {
        Error::unexpected(
            "the service's answer is not the document it should be: is the endpoint an S3 service?",
            "unreadable XML",
        )
        .with_retryable(true)
    })
}

/// The name of a document's root element.
pub(crate) fn root(body: &[u8]) -> Option<String> {
    let mut reader = Reader::from_reader(body);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                return String::from_utf8(element.local_name().as_ref().to_vec()).ok();
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// Writes a document.
pub(crate) fn write<T: Serialize>(root: &str, document: &T) -> Result<Bytes> {
    quick_xml::se::to_string_with_root(root, document)
        .map(Bytes::from)
        .map_err(|cause| Error::unexpected("a request's document could not be written", cause))
}

/// Whether XML 1.0 can express a text at all ("Char", section 2.2).
pub(crate) fn can_hold(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
}

/// The answer to `CreateMultipartUpload`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    pub(crate) upload_id: String,
}

/// The body of `CompleteMultipartUpload`.
#[derive(Debug, Serialize)]
pub(crate) struct Complete {
    #[serde(rename = "Part")]
    pub(crate) parts: Vec<Part>,
}

/// A part that was uploaded.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Part {
    pub(crate) part_number: usize,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumSHA256", skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME", skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
}

/// The answer to `CompleteMultipartUpload`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Completed {
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumCRC64NVME")]
    pub(crate) crc64nvme: Option<String>,
}

/// The answer to `CopyObject` and `UploadPartCopy`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Copied {
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumSHA256")]
    pub(crate) sha256: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME")]
    pub(crate) crc64nvme: Option<String>,
}

/// The answer to `ListObjectsV2`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Listing {
    pub(crate) is_truncated: bool,
    pub(crate) next_continuation_token: Option<String>,
    pub(crate) encoding_type: Option<String>,
    pub(crate) contents: Vec<Listed>,
    pub(crate) common_prefixes: Vec<CommonPrefix>,
}

/// An object of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(rename = "ETag", default)]
    pub(crate) etag: String,
    #[serde(default)]
    pub(crate) last_modified: String,
}

/// What several keys of a listing begin with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CommonPrefix {
    pub(crate) prefix: String,
}

/// The body of `DeleteObjects`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Delete<'a> {
    #[serde(rename = "Object")]
    pub(crate) objects: Vec<ToDelete<'a>>,
    /// Has the answer tell of failures only.
    pub(crate) quiet: bool,
}

/// A key to delete.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ToDelete<'a> {
    pub(crate) key: &'a str,
}

/// The answer to `DeleteObjects`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deleted {
    #[serde(rename = "Error")]
    pub(crate) errors: Vec<NotDeleted>,
}

/// A key that was not deleted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NotDeleted {
    pub(crate) key: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// The answer to `ListMultipartUploads`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Uploads {
    pub(crate) is_truncated: bool,
    pub(crate) next_key_marker: String,
    pub(crate) next_upload_id_marker: String,
    #[serde(rename = "Upload")]
    pub(crate) uploads: Vec<Unfinished>,
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Unfinished {
    pub(crate) key: String,
    pub(crate) upload_id: String,
    pub(crate) initiated: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_and_its_spaces_are_kept() {
        let document = Delete { objects: vec![ToDelete { key: " a&<b> " }], quiet: true };
        let text = write("Delete", &document).unwrap();
        assert_eq!(text, "<Delete><Object><Key> a&amp;&lt;b&gt; </Key></Object><Quiet>true</Quiet></Delete>");
    }

    #[test]
    fn a_page_of_a_listing_is_read() {
        let page: Listing = read(
            b"<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
              <Name>b</Name><Prefix/><IsTruncated>true</IsTruncated><NextContinuationToken>t/=</NextContinuationToken>\
              <Contents><Key>a</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>\
              <Size>3</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>b/</Prefix>\
              </CommonPrefixes><Contents><Key>c</Key></Contents></ListBucketResult>",
        )
        .unwrap();
        assert!(page.is_truncated);
        assert_eq!(page.contents.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((page.contents[0].size, page.contents[0].etag.as_str()), (3, "\"e\""));
        assert_eq!(page.common_prefixes[0].prefix, "b/");
    }

    #[test]
    fn what_is_no_document_is_not_read() {
        assert!(answer::<Created>("InitiateMultipartUploadResult", b"<html>").is_err());
        assert!(answer::<Created>("InitiateMultipartUploadResult", &[0xff]).is_err());
        assert_eq!(root(b"nothing"), None);
    }

    #[test]
    fn a_document_of_another_name_is_not_taken_for_an_empty_one() {
        assert!(answer::<Listing>("ListBucketResult", b"<html><body/></html>").is_err());
        assert!(answer::<Listing>("ListBucketResult", b"").is_err());
        assert!(answer::<Listing>("ListBucketResult", b"<ListBucketResult><IsTruncated>false").is_err());
        assert!(answer::<Listing>("ListBucketResult", b"<ListBucketResult/>").is_ok());
    }
}
