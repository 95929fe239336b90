//! [`RemoteUpload`]: the requests of one multipart upload.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_client::{header_value, parse_etag};
use storage_core::{Checksum, ChecksumAlgorithm, ETag, Error, ErrorKind, Key, Result};

use crate::checksums::{BodyChecksum, ChecksumPolicy};
use crate::client::{Client, FailedRequest};
use crate::condition::Condition;
use crate::request::{Chunks, Request};
use crate::{headers, object_options, xml};

const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
/// The size of the whole object in bytes ("CompleteMultipartUpload").
const OBJECT_SIZE: HeaderName = HeaderName::from_static("x-amz-mp-object-size");
/// How many parts a page of their listing has at most ("ListParts").
const PARTS_PER_PAGE: &str = "1000";

/// A multipart upload at the service. Dropping it does nothing.
#[derive(Debug, Clone)]
pub(crate) struct RemoteUpload {
    pub(crate) client: Client,
    pub(crate) key: Key,
    /// The service's own id.
    pub(crate) id: String,
}

impl RemoteUpload {
    /// Creates an upload. The second result shows whether the service confirms the encryption that
    /// the headers request.
    pub(super) async fn create(
        client: Client,
        key: Key,
        headers: HeaderMap,
        checksum_policy: ChecksumPolicy,
    ) -> Result<(Self, Result<()>)> {
        let mut request =
            Request::new(Method::POST, key.as_str()).query("uploads", "").headers(headers);
        if let Some(name) = checksum_policy.name_for_parts() {
            request = request.header(CHECKSUM_ALGORITHM, HeaderValue::from_static(name));
        }
        if checksum_policy.stores_crc() {
            request = request.header(CHECKSUM_TYPE, HeaderValue::from_static("FULL_OBJECT"));
        }
        let response = client.document(&request).await?;
        let created: xml::CreatedUpload =
            xml::read_success("InitiateMultipartUploadResult", &response.body)?;
        let is_encrypted = object_options::check_encryption(&request.headers, &response.headers);
        let id = created.upload_id;
        // A request with an empty id may concern the object.
        if id.is_empty() {
            let message = "the service has begun an upload without an id";
            return Err(Error::new(ErrorKind::Unexpected, message));
        }
        Ok((Self { client, key, id }, is_encrypted))
    }

    /// Stores a part and returns its ETag.
    pub(super) async fn put_part(
        &self,
        number: usize,
        body: Chunks,
        body_checksum: Option<&BodyChecksum>,
    ) -> Result<ETag, FailedRequest> {
        let text = number.to_string();
        let mut request = Request::new(Method::PUT, self.key.as_str())
            .query("partNumber", &text)
            .query("uploadId", &self.id)
            .body(body);
        if let Some(body_checksum) = body_checksum {
            request = request.with_checksum(body_checksum)?;
        }
        let response = self.client.send(&request).await?;
        Ok(headers::saved_etag(&response.headers)?)
    }

    /// Returns the page of the listing of parts that begins after a part.
    pub(super) async fn page_of_parts(&self, after: u32) -> Result<xml::Parts, FailedRequest> {
        let marker = after.to_string();
        let mut request = Request::new(Method::GET, self.key.as_str())
            .query("uploadId", &self.id)
            .query("max-parts", PARTS_PER_PAGE);
        if after > 0 {
            request = request.query("part-number-marker", &marker);
        }
        let document = self.client.document(&request).await?;
        Ok(xml::read_response("ListPartsResult", &document.body)?)
    }

    /// Makes the object visible if the condition holds. The service verifies `size`, if it is
    /// AWS, and `whole`, the CRC of the whole object. Returns the ETag if the response contains it.
    pub(super) async fn complete(
        &self,
        parts: Vec<xml::CompletedPart>,
        size: u64,
        whole: Option<&Checksum>,
        condition: &Condition,
        quoted: bool,
    ) -> Result<Option<ETag>, FailedRequest> {
        let body = xml::complete_upload(&parts);
        let mut request = Request::new(Method::POST, self.key.as_str())
            .query("uploadId", &self.id)
            .body(body)
            .allow_slow_response();
        request = condition.apply_to(request, quoted)?;
        // Another service may refuse a header that it does not know.
        if self.client.bucket().is_at_aws() {
            request = request.header(OBJECT_SIZE, HeaderValue::from(size));
        }
        if let Some(whole) = whole
            && let Some(name) = headers::checksum_header(whole.algorithm())
        {
            request = request
                .header(name, header_value(&headers::to_base64(whole))?)
                .header(CHECKSUM_TYPE, HeaderValue::from_static("FULL_OBJECT"));
        }
        let response = self.client.document(&request).await?;
        let completed: xml::Stored =
            xml::read_success("CompleteMultipartUploadResult", &response.body)
                .map_err(|error| error.with_context("the object may have been stored"))?;
        Ok(parse_etag(&completed.etag))
    }

    /// Aborts the upload. Sends the request twice, because a part that was being received may
    /// remain after the first ("AbortMultipartUpload").
    pub(super) async fn abort(&self) -> Result<()> {
        for _ in 0..2 {
            let request =
                Request::new(Method::DELETE, self.key.as_str()).query("uploadId", &self.id);
            match self.client.send(&request).await {
                Ok(_) => {}
                Err(failed) if is_gone(&failed) => return Ok(()),
                Err(failed) => return Err(failed.error),
            }
        }
        Ok(())
    }

    /// Aborts the upload of a failed or dropped call, and logs a failure to do so.
    pub(super) async fn abort_and_log(&self) {
        if let Err(error) = self.abort().await {
            tracing::warn!(%error, "an upload could not be aborted; Storage::abort_stale removes it later");
        }
    }
}

/// Returns the entry of a part in the document of a completion.
pub(super) fn part_entry(
    number: usize,
    etag: String,
    checksum: Option<&Checksum>,
) -> xml::CompletedPart {
    let of = |algorithm| {
        checksum.filter(|checksum| checksum.algorithm() == algorithm).map(headers::to_base64)
    };
    xml::CompletedPart {
        part_number: number,
        etag,
        sha256: of(ChecksumAlgorithm::Sha256),
        crc64nvme: of(ChecksumAlgorithm::Crc64Nvme),
        crc32c: of(ChecksumAlgorithm::Crc32c),
    }
}

/// Whether the service no longer has the upload, as after another write of the key.
pub(super) fn is_gone(failed: &FailedRequest) -> bool {
    failed.code() == "NoSuchUpload"
}

/// Whether a listing of parts failed because there is no such upload. RadosGW 16.2 responds to it
/// with the code for an object.
pub(super) fn has_no_parts(failed: &FailedRequest) -> bool {
    is_gone(failed) || failed.code() == "NoSuchKey"
}

/// Returns the error of a part of a save or a copy. If the upload no longer exists, the error is
/// retryable, because nothing of the save is left.
pub(crate) fn part_error(failed: FailedRequest) -> Error {
    if is_gone(&failed) { failed.error.with_retryable(true) } else { failed.error }
}
