//! The documents of the S3 API that this driver reads and writes.

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage_core::{Error, Result};

/// Parses a document.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()
}

/// Parses the document of a response of success. Its root must have this name: any other document
/// could parse as an empty listing.
pub(crate) fn read_response<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T> {
    let root = root(body);
    let document = if root.as_deref() == Some(name) { read(body) } else { None };
    document.ok_or_else(|| wrong_document(name, root.as_deref()))
}

/// A document whose content shows success, regardless of the name of its root.
pub(crate) trait SuccessDocument: DeserializeOwned {
    /// Whether the document contains what only a response of success contains.
    fn shows_success(&self) -> bool;
}

/// Parses the document of a response of success. Some services use another name for the root; such
/// a document is accepted if its content shows success. The root `Error` is never accepted.
pub(crate) fn read_success<T: SuccessDocument>(name: &str, body: &[u8]) -> Result<T> {
    let root = root(body);
    let document = match root.as_deref() {
        None | Some("Error") => None,
        Some(found) => read(body).filter(|document: &T| found == name || document.shows_success()),
    };
    document.ok_or_else(|| wrong_document(name, root.as_deref()))
}

fn wrong_document(expected: &str, found: Option<&str>) -> Error {
    let found = match found {
        Some(found) if found == expected => "is incomplete".to_owned(),
        Some(found) => {
            let shown: String = found.chars().filter(|c| !c.is_control()).take(60).collect();
            format!("has the root element {shown}")
        }
        None => "is not XML".to_owned(),
    };
    let message = format!(
        "the service's response should be a {expected} document, but {found}: is the endpoint an S3 service?"
    );
    Error::unexpected(message, "unreadable XML").with_retryable(true)
}

/// Returns the name of a document's root element.
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
        .map_err(|cause| Error::unexpected("the document of a request could not be written", cause))
}

/// Whether XML 1.0 can express a text ("Char", section 2.2).
pub(crate) fn can_hold(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
}

/// The response to `CreateMultipartUpload`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreatedUpload {
    pub(crate) upload_id: String,
}

impl SuccessDocument for CreatedUpload {
    fn shows_success(&self) -> bool {
        !self.upload_id.is_empty()
    }
}

/// The body of `CompleteMultipartUpload`.
#[derive(Debug, Serialize)]
pub(crate) struct CompleteUpload {
    #[serde(rename = "Part")]
    pub(crate) parts: Vec<CompletedPart>,
}

/// A part that was uploaded.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CompletedPart {
    pub(crate) part_number: usize,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumSHA256", skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME", skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
    #[serde(rename = "ChecksumCRC32C", skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
}

/// The response to `CompleteMultipartUpload`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CompletedUpload {
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumCRC64NVME")]
    pub(crate) crc64nvme: Option<String>,
}

impl SuccessDocument for CompletedUpload {
    fn shows_success(&self) -> bool {
        !self.etag.is_empty()
    }
}

/// The response to `CopyObject` and `UploadPartCopy`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CopyResult {
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumSHA256")]
    pub(crate) sha256: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME")]
    pub(crate) crc64nvme: Option<String>,
}

impl SuccessDocument for CopyResult {
    fn shows_success(&self) -> bool {
        !self.etag.is_empty()
    }
}

/// The response to `ListObjectsV2`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Listing {
    pub(crate) is_truncated: bool,
    pub(crate) next_continuation_token: Option<String>,
    pub(crate) encoding_type: Option<String>,
    pub(crate) contents: Vec<ListedObject>,
    pub(crate) common_prefixes: Vec<CommonPrefix>,
}

/// An object of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(rename = "ETag", default)]
    pub(crate) etag: String,
    #[serde(default)]
    pub(crate) last_modified: String,
    #[serde(default)]
    pub(crate) storage_class: Option<String>,
}

/// A common prefix of several keys of a listing.
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
    pub(crate) objects: Vec<ObjectToDelete<'a>>,
    /// Restricts the response to failures.
    pub(crate) quiet: bool,
}

/// A key to delete.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ObjectToDelete<'a> {
    pub(crate) key: &'a str,
}

/// The response to `DeleteObjects`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeleteResult {
    #[serde(rename = "Error")]
    pub(crate) errors: Vec<DeleteError>,
}

/// A key that was not deleted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DeleteError {
    pub(crate) key: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// The response to `GetObjectTagging`, and the body of `PutObjectTagging`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Tagging {
    pub(crate) tag_set: TagSet,
}

/// The tags of an object.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct TagSet {
    #[serde(rename = "Tag")]
    pub(crate) tags: Vec<Tag>,
}

/// A tag of an object.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The response to `ListObjectVersions`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Versions {
    pub(crate) is_truncated: bool,
    pub(crate) next_key_marker: String,
    pub(crate) next_version_id_marker: String,
    pub(crate) encoding_type: Option<String>,
    #[serde(rename = "Version")]
    pub(crate) versions: Vec<ListedVersion>,
    #[serde(rename = "DeleteMarker")]
    pub(crate) delete_markers: Vec<ListedVersion>,
}

/// A version of an object, or a delete marker, which has no size and no ETag.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedVersion {
    pub(crate) key: String,
    pub(crate) version_id: String,
    #[serde(default)]
    pub(crate) is_latest: bool,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(rename = "ETag", default)]
    pub(crate) etag: String,
    #[serde(default)]
    pub(crate) last_modified: String,
}

/// The response to `ListParts`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Parts {
    pub(crate) is_truncated: bool,
    #[serde(rename = "Part")]
    pub(crate) parts: Vec<ListedPart>,
}

/// A part that is stored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedPart {
    pub(crate) part_number: u32,
    pub(crate) size: u64,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    #[serde(rename = "ChecksumCRC64NVME", default)]
    pub(crate) crc64nvme: Option<String>,
    #[serde(rename = "ChecksumCRC32C", default)]
    pub(crate) crc32c: Option<String>,
}

/// The response to `ListMultipartUploads`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Uploads {
    pub(crate) is_truncated: bool,
    pub(crate) next_key_marker: String,
    pub(crate) next_upload_id_marker: String,
    #[serde(rename = "Upload")]
    pub(crate) uploads: Vec<UnfinishedUpload>,
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UnfinishedUpload {
    pub(crate) key: String,
    pub(crate) upload_id: String,
    #[serde(default)]
    pub(crate) initiated: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_and_its_spaces_are_kept() {
        let document = Delete { objects: vec![ObjectToDelete { key: " a&<b> " }], quiet: true };
        let text = write("Delete", &document).unwrap();
        assert_eq!(
            text,
            "<Delete><Object><Key> a&amp;&lt;b&gt; </Key></Object><Quiet>true</Quiet></Delete>"
        );
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
        assert_eq!(
            page.contents.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(),
            ["a", "c"]
        );
        assert_eq!((page.contents[0].size, page.contents[0].etag.as_str()), (3, "\"e\""));
        assert_eq!(page.common_prefixes[0].prefix, "b/");
    }

    #[test]
    fn a_malformed_document_is_refused() {
        assert!(
            read_response::<CreatedUpload>("InitiateMultipartUploadResult", b"<html>").is_err()
        );
        assert!(read_response::<CreatedUpload>("InitiateMultipartUploadResult", &[0xff]).is_err());
        assert_eq!(root(b"nothing"), None);
    }

    #[test]
    fn a_document_with_another_root_is_accepted_if_it_shows_success() {
        let completed = |body: &str| {
            read_success::<CompletedUpload>("CompleteMultipartUploadResult", body.as_bytes())
        };
        let named =
            "<CompleteMultipartUploadResponse><ETag>e-2</ETag></CompleteMultipartUploadResponse>";
        assert_eq!(completed(named).unwrap().etag, "e-2");
        assert!(completed("<CompleteMultipartUploadResult/>").is_ok());
        for (body, found) in [
            ("<Error><ETag>e</ETag></Error>", "the root element Error"),
            ("<html><body/></html>", "the root element html"),
            ("<Other><ETag/></Other>", "the root element Other"),
            ("<CompleteMultipartUploadResult><ETag>e", "is incomplete"),
            ("", "is not XML"),
        ] {
            let error = completed(body).unwrap_err();
            assert!(error.message().contains(found), "{body}: {error}");
        }
        assert!(
            read_success::<CreatedUpload>(
                "InitiateMultipartUploadResult",
                b"<Other><UploadId/></Other>"
            )
            .is_err()
        );
        assert!(
            read_success::<CreatedUpload>(
                "InitiateMultipartUploadResult",
                b"<Other><UploadId>u</UploadId></Other>"
            )
            .is_ok()
        );
        assert!(
            read_success::<CopyResult>(
                "CopyObjectResult",
                b"<CopyObjectResponse><ETag>e</ETag></CopyObjectResponse>"
            )
            .is_ok()
        );
    }

    #[test]
    fn a_document_with_another_root_does_not_count_as_an_empty_listing() {
        assert!(read_response::<Listing>("ListBucketResult", b"<html><body/></html>").is_err());
        assert!(read_response::<Listing>("ListBucketResult", b"").is_err());
        assert!(
            read_response::<Listing>("ListBucketResult", b"<ListBucketResult><IsTruncated>false")
                .is_err()
        );
        assert!(read_response::<Listing>("ListBucketResult", b"<ListBucketResult/>").is_ok());
    }
}
