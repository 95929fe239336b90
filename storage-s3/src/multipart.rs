//! [`Upload`]: a multipart upload, which is either completed or aborted.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_client::{etag, header_value, parse_etag};
use storage_core::{Checksum, ChecksumAlgorithm, ETag, Error, ErrorKind, Key, Result};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::checksums::{BodyChecksum, ChecksumPolicy, WholeCrc};
use crate::client::{Client, FailedRequest};
use crate::condition::Condition;
use crate::headers;
use crate::parts::{Part, PartReader};
use crate::request::Request;
use crate::{object_options, xml};

/// S3's limit for the number of parts ("Amazon S3 multipart upload limits").
pub(crate) const MAX_PARTS: u64 = 10_000;
/// Upper bound for the part size of a payload of unknown size, in bytes (64 MiB).
const MAX_GROWN_PART: u64 = 64 * 1024 * 1024;
/// The part size doubles after this many parts of a payload of unknown size.
const PARTS_PER_DOUBLING: u64 = 1_000;
const MIB: u64 = 1024 * 1024;

const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
const FULL_CRC: HeaderName = HeaderName::from_static("x-amz-checksum-crc64nvme");

/// The size of each part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartSizes {
    /// The option `part_size`.
    part_size: u64,
    first: u64,
    grow: bool,
}

impl PartSizes {
    /// Returns sizes of at least `part_size` for a payload of this size. `may_differ` states
    /// whether the service accepts parts of different sizes.
    pub(crate) fn new(part_size: u64, size: Option<u64>, may_differ: bool) -> Self {
        match size {
            Some(size) => Self {
                part_size,
                first: part_size.max(size.div_ceil(MAX_PARTS).next_multiple_of(MIB)),
                grow: false,
            },
            None => Self { part_size, first: part_size, grow: may_differ },
        }
    }

    /// Returns the size of a part by its number. The first part has the number 1.
    pub(crate) fn size_of(self, number: usize) -> u64 {
        if !self.grow {
            return self.first;
        }
        let doublings = u32::try_from((number as u64 - 1) / PARTS_PER_DOUBLING).unwrap_or(u32::MAX);
        let grown = self.first.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
        grown.min(MAX_GROWN_PART.max(self.first))
    }

    /// Returns how many parts may be in flight. Fewer are allowed if they are large.
    fn concurrency(self, number: usize, wanted: usize) -> usize {
        let fit = (wanted as u64 * self.part_size).max(4 * MAX_GROWN_PART) / self.size_of(number);
        wanted.min(usize::try_from(fit).unwrap_or(usize::MAX)).max(1)
    }
}

/// An upload in progress. Dropping it aborts the upload in the background. Nothing is visible
/// before completion.
#[derive(Debug)]
pub(crate) struct Upload {
    client: Client,
    key: Key,
    id: String,
    checksum_policy: ChecksumPolicy,
    /// Parts in flight. They end before the upload is aborted, so that none arrives after it.
    tasks: JoinSet<Result<SentPart>>,
    parts: BTreeMap<usize, SentPart>,
    has_ended: bool,
}

/// A part that the service has received.
#[derive(Debug)]
pub(crate) struct SentPart {
    pub(crate) number: usize,
    pub(crate) len: u64,
    pub(crate) etag: String,
    pub(crate) checksum: Option<Checksum>,
}

/// The service's response to the completion of an upload.
#[derive(Debug)]
pub(crate) struct CompletedUpload {
    pub(crate) etag: Option<ETag>,
    pub(crate) size: u64,
}

impl Upload {
    /// Creates an upload.
    ///
    /// The request continues if the future is dropped, because an upload without a known id could
    /// not be aborted.
    pub(crate) async fn create(
        client: &Client,
        key: &Key,
        headers: HeaderMap,
        checksum_policy: ChecksumPolicy,
    ) -> Result<Self> {
        let (client, key) = (client.clone(), key.clone());
        let creating = tokio::spawn(async move {
            let mut request =
                Request::new(Method::POST, key.as_str()).query("uploads", "").headers(headers);
            if let Some(name) = checksum_policy.name_for_parts() {
                request = request.header(CHECKSUM_ALGORITHM, HeaderValue::from_static(name));
            }
            if checksum_policy.algorithm() == Some(ChecksumAlgorithm::Crc64Nvme)
                && checksum_policy.headers
            {
                request = request.header(CHECKSUM_TYPE, HeaderValue::from_static("FULL_OBJECT"));
            }
            let response = client.document(&request).await?;
            let created: xml::CreatedUpload =
                xml::read_success("InitiateMultipartUploadResult", &response.body)?;
            let is_encrypted =
                object_options::check_encryption(&request.headers, &response.headers);
            let (tasks, parts) = (JoinSet::new(), BTreeMap::new());
            let upload = Self {
                client,
                key: key.clone(),
                id: created.upload_id,
                checksum_policy,
                tasks,
                parts,
                has_ended: false,
            };
            match is_encrypted {
                Ok(()) => Ok(upload),
                Err(error) => {
                    upload.abort().await;
                    Err(error)
                }
            }
        });
        creating
            .await
            .map_err(|join| Error::unexpected("creating an upload did not finish", join))?
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends all parts, several at a time. The first one has been read already.
    pub(crate) async fn send_all(
        &mut self,
        first: Part,
        rest: &mut PartReader,
        sizes: PartSizes,
        concurrency: usize,
    ) -> Result<()> {
        let mut number = 1;
        let mut next = Some(first);
        while let Some(part) = next.take() {
            while self.tasks.len() >= sizes.concurrency(number, concurrency) {
                self.join_one().await?;
            }
            self.send(number, part);
            if self.while_sending(rest.is_at_end()).await? {
                break;
            }
            number += 1;
            if number as u64 > MAX_PARTS {
                return Err(too_many_parts());
            }
            next = Some(self.while_sending(rest.next(sizes.size_of(number))).await?);
        }
        while !self.tasks.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    /// Waits for the payload. Fails at once if a part in flight fails.
    async fn while_sending<T>(&mut self, gathered: impl Future<Output = Result<T>>) -> Result<T> {
        let mut gathered = std::pin::pin!(gathered);
        loop {
            tokio::select! {
                biased;
                done = &mut gathered => return done,
                Some(sent) = self.tasks.join_next() => self.record(sent)?,
            }
        }
    }

    async fn join_one(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            Some(sent) => self.record(sent),
            None => Ok(()),
        }
    }

    fn record(&mut self, sent: Result<Result<SentPart>, tokio::task::JoinError>) -> Result<()> {
        let sent =
            sent.map_err(|join| Error::unexpected("sending a part did not finish", join))??;
        self.parts.insert(sent.number, sent);
        Ok(())
    }

    fn send(&mut self, number: usize, part: Part) {
        let (client, key, id, checksum_policy) =
            (self.client.clone(), self.key.clone(), self.id.clone(), self.checksum_policy);
        self.tasks.spawn(async move {
            let Part { chunks, reservation } = part;
            let body_checksum = checksum_policy.body_checksum(&chunks, None).await?;
            let len = chunks.len();
            let text = number.to_string();
            let mut request = Request::new(Method::PUT, key.as_str())
                .query("partNumber", &text)
                .query("uploadId", &id);
            request = request.body(chunks);
            if let Some(body_checksum) = &body_checksum {
                request = request.with_checksum(body_checksum)?;
            }
            let response = client.send(&request).await.map_err(part_error)?;
            drop(reservation);
            let etag = headers::saved_etag(&response.headers)?.to_string();
            Ok(SentPart {
                number,
                len,
                etag,
                checksum: body_checksum
                    .filter(|body_checksum| body_checksum.in_header)
                    .map(|BodyChecksum { checksum, .. }| checksum),
            })
        });
    }

    /// Runs copies of ranges as parts, several at a time.
    pub(crate) async fn run_copies<F>(
        &mut self,
        copies: impl Iterator<Item = F>,
        concurrency: usize,
    ) -> Result<()>
    where
        F: Future<Output = Result<SentPart>> + Send + 'static,
    {
        for copy in copies {
            while self.tasks.len() >= concurrency {
                self.join_one().await?;
            }
            self.tasks.spawn(copy);
        }
        while !self.tasks.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    /// Makes the object visible if the condition holds.
    pub(crate) async fn complete(
        &mut self,
        condition: &Condition,
        quoted: bool,
    ) -> Result<CompletedUpload> {
        let size = self.parts.values().map(|part| part.len).sum();
        let document = xml::CompleteUpload {
            parts: self.parts.values().map(|part| self.part_entry(part)).collect(),
        };
        let body = xml::write("CompleteMultipartUpload", &document)?;
        let id = self.id.clone();
        let mut request = Request::new(Method::POST, self.key.as_str())
            .query("uploadId", &id)
            .body(body)
            .allow_slow_response();
        request = condition.apply_to(request, quoted)?;
        let whole = self.whole_crc()?;
        if let Some(whole) = &whole {
            request = request
                .header(FULL_CRC, header_value(&headers::to_base64(whole))?)
                .header(CHECKSUM_TYPE, HeaderValue::from_static("FULL_OBJECT"));
        }
        let client = self.client.clone();
        let outcome = client.document(&request).await;
        let etag = match outcome {
            Ok(response) => {
                let completed = xml::read_success::<xml::CompletedUpload>(
                    "CompleteMultipartUploadResult",
                    &response.body,
                )
                .map_err(|error| {
                    condition
                        .interpret(error.with_context("the object may have been stored").into())
                })?;
                self.has_ended = true;
                parse_etag(&completed.etag)
            }
            Err(failed) => self
                .was_completed_before(failed)
                .await
                .map_err(|failed| completion_error(condition, failed))?,
        };
        Ok(CompletedUpload { etag, size })
    }

    /// Detects that an earlier completion succeeded although its response was lost: the upload no
    /// longer exists, and the object is that of this upload.
    async fn was_completed_before(
        &mut self,
        failed: FailedRequest,
    ) -> Result<Option<ETag>, FailedRequest> {
        if !upload_is_gone(&failed) || !failed.may_have_succeeded {
            return Err(failed);
        }
        self.has_ended = true;
        let present = self.client.send(&Request::new(Method::HEAD, self.key.as_str())).await;
        // The ETag of such an object ends in the number of its parts.
        let suffix = format!("-{}", self.parts.len());
        match present.ok().and_then(|response| etag(&response.headers)) {
            Some(etag) if etag.opaque().ends_with(&suffix) => Ok(Some(etag)),
            _ => Err(failed),
        }
    }

    fn part_entry(&self, part: &SentPart) -> xml::CompletedPart {
        let of = |algorithm| {
            part.checksum
                .as_ref()
                .filter(|checksum| checksum.algorithm() == algorithm)
                .map(headers::to_base64)
        };
        xml::CompletedPart {
            part_number: part.number,
            etag: part.etag.clone(),
            sha256: of(ChecksumAlgorithm::Sha256),
            crc64nvme: of(ChecksumAlgorithm::Crc64Nvme),
        }
    }

    /// Returns the CRC of the whole object, if that of every part is known.
    fn whole_crc(&self) -> Result<Option<Checksum>> {
        let mut whole = WholeCrc::default();
        for part in self.parts.values() {
            match &part.checksum {
                Some(checksum) if checksum.algorithm() == ChecksumAlgorithm::Crc64Nvme => {
                    whole.append(checksum, part.len);
                }
                _ => return Ok(None),
            }
        }
        whole.finish().map(Some)
    }

    /// Aborts the upload and waits until that is done. A failure to abort is logged, so that the
    /// caller receives the error of the upload.
    pub(crate) async fn abort(mut self) {
        self.tasks.shutdown().await;
        abort_and_log(&self.client, &self.key, &self.id).await;
        // Until here, dropping the future aborts the upload in the background.
        self.has_ended = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut tasks = std::mem::take(&mut self.tasks);
        let (client, key, id) =
            (self.client.clone(), self.key.clone(), std::mem::take(&mut self.id));
        // Without a runtime the upload stays until `abort_stale_uploads` removes it.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            tasks.shutdown().await;
            abort_and_log(&client, &key, &id).await;
        });
    }
}

/// Whether the service no longer has the upload, as after another write of the key.
fn upload_is_gone(failed: &FailedRequest) -> bool {
    failed.code() == "NoSuchUpload"
}

/// Returns the error of a completion. After an earlier attempt without a response it reports that
/// the outcome is unknown.
fn completion_error(condition: &Condition, failed: FailedRequest) -> Error {
    match (upload_is_gone(&failed), failed.may_have_succeeded) {
        (true, true) => {
            let message = "the upload no longer exists after a completion whose response was lost, \
                           and the key has another object or none: whether the object was \
                           saved is unknown, so check it before you retry";
            Error::new(ErrorKind::Unexpected, message).with_source(failed.error)
        }
        (true, false) => condition.interpret(failed).with_retryable(true),
        (false, _) => condition.interpret(failed),
    }
}

/// Returns the error of a part. If the upload no longer exists, the error is retryable, because
/// nothing of the save is left.
pub(crate) fn part_error(failed: FailedRequest) -> Error {
    let is_gone = upload_is_gone(&failed);
    if is_gone { failed.error.with_retryable(true) } else { failed.error }
}

/// Aborts an upload. Sends the request twice, because a part that was being received may remain
/// after the first ("AbortMultipartUpload").
pub(crate) async fn abort(client: &Client, key: &str, id: &str) -> Result<()> {
    for _ in 0..2 {
        let request = Request::new(Method::DELETE, key).query("uploadId", id);
        match client.send(&request).await {
            Ok(_) => {}
            Err(failed) if upload_is_gone(&failed) => return Ok(()),
            Err(failed) => return Err(failed.error),
        }
    }
    Ok(())
}

/// Aborts the upload of a failed or dropped save, and logs a failure to do so.
async fn abort_and_log(client: &Client, key: &Key, id: &str) {
    if let Err(error) = abort(client, key.as_str(), id).await {
        tracing::warn!(%error, "an upload could not be aborted; S3::abort_stale_uploads removes it later");
    }
}

fn too_many_parts() -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the payload has more than {MAX_PARTS} parts: declare its size (Payload::with_size) or raise part_size"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_known_size_has_at_most_as_many_parts_as_s3_allows() {
        assert_eq!(PartSizes::new(8 * MIB, Some(MIB), true).size_of(1), 8 * MIB);
        let five_tib = 5 << 40;
        let sizes = PartSizes::new(8 * MIB, Some(five_tib), true);
        assert!(sizes.size_of(1) * MAX_PARTS >= five_tib && sizes.size_of(1) < 600 * MIB);
        assert_eq!(sizes.concurrency(1, 8), 1);
    }

    #[test]
    fn the_parts_of_a_payload_of_unknown_size_grow_up_to_a_limit() {
        let sizes = PartSizes::new(8 * MIB, None, true);
        assert_eq!(
            [1, 1000, 1001, 2001, 10_000].map(|n| sizes.size_of(n) / MIB),
            [8, 8, 16, 32, 64]
        );
        assert_eq!(sizes.concurrency(1, 8), 8);
        assert_eq!(PartSizes::new(8 * MIB, None, false).size_of(10_000), 8 * MIB);
        assert_eq!(PartSizes::new(100 * MIB, None, true).size_of(10_000), 100 * MIB);
    }
}
