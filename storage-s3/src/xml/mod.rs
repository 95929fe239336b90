//! The documents of the S3 API that this driver reads and writes.

mod element;
mod writer;

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;
use storage_core::{Error, Result};

pub(crate) use element::{Element, FromElement};
use writer::Writer;

/// Parses a document.
pub(crate) fn read<T: FromElement>(body: &[u8]) -> Option<T> {
    T::from_element(&Element::parse(body)?)
}

/// Parses the document of a response of success. Its root must have this name: any other document
/// could parse as an empty listing.
pub(crate) fn read_response<T: FromElement>(name: &str, body: &[u8]) -> Result<T> {
    let element = Element::parse(body).filter(|element| element.name() == name);
    let document = element.and_then(|element| T::from_element(&element));
    document.ok_or_else(|| wrong_document(name, root(body).as_deref()))
}

/// A document whose content shows success, regardless of the name of its root.
pub(crate) trait SuccessDocument: FromElement {
    /// Whether the document contains what only a response of success contains.
    fn shows_success(&self) -> bool;
}

/// Parses the document of a response of success. Some services use another name for the root; such
/// a document is accepted if its content shows success. The root `Error` is never accepted.
pub(crate) fn read_success<T: SuccessDocument>(name: &str, body: &[u8]) -> Result<T> {
    let element = Element::parse(body).filter(|element| element.name() != "Error");
    let document = element.and_then(|element| {
        let document = T::from_element(&element)?;
        (element.name() == name || document.shows_success()).then_some(document)
    });
    document.ok_or_else(|| wrong_document(name, root(body).as_deref()))
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

/// Whether XML 1.0 can express a text ("Char", section 2.2).
pub(crate) fn can_hold(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
}

/// The response to `CreateMultipartUpload`.
#[derive(Debug)]
pub(crate) struct CreatedUpload {
    pub(crate) upload_id: String,
}

impl FromElement for CreatedUpload {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self { upload_id: element.optional("UploadId")? })
    }
}

impl SuccessDocument for CreatedUpload {
    fn shows_success(&self) -> bool {
        !self.upload_id.is_empty()
    }
}

/// A part that was uploaded.
#[derive(Debug, Clone)]
pub(crate) struct CompletedPart {
    pub(crate) part_number: usize,
    pub(crate) etag: String,
    pub(crate) sha256: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) crc32c: Option<String>,
}

/// Writes the body of `CompleteMultipartUpload`.
pub(crate) fn complete_upload(parts: &[CompletedPart]) -> Bytes {
    Writer::document("CompleteMultipartUpload", |document| {
        for part in parts {
            document.element("Part", |element| {
                element.text("PartNumber", &part.part_number.to_string());
                element.text("ETag", &part.etag);
                let checksums = [
                    ("ChecksumSHA256", &part.sha256),
                    ("ChecksumCRC64NVME", &part.crc64nvme),
                    ("ChecksumCRC32C", &part.crc32c),
                ];
                for (name, checksum) in checksums {
                    if let Some(checksum) = checksum {
                        element.text(name, checksum);
                    }
                }
            });
        }
    })
}

/// The response to `CompleteMultipartUpload`, `CopyObject` and `UploadPartCopy`.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) etag: String,
}

impl FromElement for Stored {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self { etag: element.text("ETag") })
    }
}

impl SuccessDocument for Stored {
    fn shows_success(&self) -> bool {
        !self.etag.is_empty()
    }
}

/// The response to `ListObjectsV2`.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) is_truncated: bool,
    pub(crate) next_continuation_token: Option<String>,
    pub(crate) encoding_type: Option<String>,
    pub(crate) contents: Vec<ListedObject>,
    pub(crate) common_prefixes: Vec<CommonPrefix>,
}

impl FromElement for Listing {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            is_truncated: element.flag("IsTruncated")?,
            next_continuation_token: element.optional("NextContinuationToken"),
            encoding_type: element.optional("EncodingType"),
            contents: element.all("Contents")?,
            common_prefixes: element.all("CommonPrefixes")?,
        })
    }
}

/// An object of a listing.
#[derive(Debug)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) last_modified: String,
    pub(crate) storage_class: Option<String>,
}

impl FromElement for ListedObject {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            key: element.verbatim("Key")?,
            size: element.number("Size")?,
            etag: element.text("ETag"),
            last_modified: element.text("LastModified"),
            storage_class: element.optional("StorageClass"),
        })
    }
}

/// A common prefix of several keys of a listing.
#[derive(Debug)]
pub(crate) struct CommonPrefix {
    pub(crate) prefix: String,
}

impl FromElement for CommonPrefix {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self { prefix: element.verbatim("Prefix")? })
    }
}

/// Writes the body of `DeleteObjects`. The response is restricted to failures.
pub(crate) fn delete_objects<'a>(keys: impl Iterator<Item = &'a str>) -> Bytes {
    Writer::document("Delete", |document| {
        for key in keys {
            document.element("Object", |element| element.text("Key", key));
        }
        document.text("Quiet", "true");
    })
}

/// The response to `DeleteObjects`.
#[derive(Debug)]
pub(crate) struct DeleteResult {
    pub(crate) errors: Vec<DeleteError>,
}

impl FromElement for DeleteResult {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self { errors: element.all("Error")? })
    }
}

/// A key that was not deleted.
#[derive(Debug)]
pub(crate) struct DeleteError {
    pub(crate) key: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl FromElement for DeleteError {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            key: element.verbatim("Key").unwrap_or_default(),
            code: element.text("Code"),
            message: element.text("Message"),
        })
    }
}

/// The response to `GetObjectTagging`.
#[derive(Debug, Default)]
pub(crate) struct Tagging {
    pub(crate) tags: Vec<Tag>,
}

impl FromElement for Tagging {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self { tags: element.child("TagSet").map_or(Some(Vec::new()), |set| set.all("Tag"))? })
    }
}

/// Writes the body of `PutObjectTagging`.
pub(crate) fn tagging(tags: &[Tag]) -> Bytes {
    Writer::document("Tagging", |document| {
        document.element("TagSet", |set| {
            for tag in tags {
                set.element("Tag", |element| {
                    element.text("Key", &tag.key);
                    element.text("Value", &tag.value);
                });
            }
        });
    })
}

/// A tag of an object.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromElement for Tag {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            key: element.verbatim("Key").unwrap_or_default(),
            value: element.verbatim("Value").unwrap_or_default(),
        })
    }
}

/// The response to `ListObjectVersions`.
#[derive(Debug)]
pub(crate) struct Versions {
    pub(crate) is_truncated: bool,
    pub(crate) next_key_marker: String,
    pub(crate) next_version_id_marker: String,
    pub(crate) encoding_type: Option<String>,
    pub(crate) versions: Vec<ListedVersion>,
    pub(crate) delete_markers: Vec<ListedVersion>,
}

impl FromElement for Versions {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            is_truncated: element.flag("IsTruncated")?,
            next_key_marker: element.verbatim("NextKeyMarker").unwrap_or_default(),
            next_version_id_marker: element.text("NextVersionIdMarker"),
            encoding_type: element.optional("EncodingType"),
            versions: element.all("Version")?,
            delete_markers: element.all("DeleteMarker")?,
        })
    }
}

/// A version of an object, or a delete marker, which has no size and no ETag.
#[derive(Debug)]
pub(crate) struct ListedVersion {
    pub(crate) key: String,
    pub(crate) version_id: String,
    pub(crate) is_latest: bool,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) last_modified: String,
}

impl FromElement for ListedVersion {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            key: element.verbatim("Key")?,
            version_id: element.optional("VersionId")?,
            is_latest: element.flag("IsLatest")?,
            size: element.number("Size")?,
            etag: element.text("ETag"),
            last_modified: element.text("LastModified"),
        })
    }
}

/// The response to `ListParts`.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) is_truncated: bool,
    pub(crate) parts: Vec<ListedPart>,
}

impl FromElement for Parts {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self { is_truncated: element.flag("IsTruncated")?, parts: element.all("Part")? })
    }
}

/// A part that is stored.
#[derive(Debug)]
pub(crate) struct ListedPart {
    pub(crate) part_number: u32,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) crc32c: Option<String>,
}

impl FromElement for ListedPart {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            part_number: element.optional("PartNumber")?.parse().ok()?,
            size: element.optional("Size")?.parse().ok()?,
            etag: element.optional("ETag")?,
            crc64nvme: element.optional("ChecksumCRC64NVME"),
            crc32c: element.optional("ChecksumCRC32C"),
        })
    }
}

/// The response to `ListMultipartUploads`.
#[derive(Debug)]
pub(crate) struct Uploads {
    pub(crate) is_truncated: bool,
    pub(crate) next_key_marker: String,
    pub(crate) next_upload_id_marker: String,
    pub(crate) uploads: Vec<UnfinishedUpload>,
}

impl FromElement for Uploads {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            is_truncated: element.flag("IsTruncated")?,
            next_key_marker: element.verbatim("NextKeyMarker").unwrap_or_default(),
            next_upload_id_marker: element.text("NextUploadIdMarker"),
            uploads: element.all("Upload")?,
        })
    }
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug)]
pub(crate) struct UnfinishedUpload {
    pub(crate) key: String,
    pub(crate) upload_id: String,
    pub(crate) initiated: String,
}

impl FromElement for UnfinishedUpload {
    fn from_element(element: &Element) -> Option<Self> {
        Some(Self {
            key: element.verbatim("Key")?,
            upload_id: element.optional("UploadId")?,
            initiated: element.text("Initiated"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_and_its_spaces_are_kept() {
        let text = delete_objects([" a&<b> "].into_iter());
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
        let completed =
            |body: &str| read_success::<Stored>("CompleteMultipartUploadResult", body.as_bytes());
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
            read_success::<Stored>(
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
