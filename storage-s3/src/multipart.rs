//! [`Upload`]: a multipart upload, which ends complete or aborted, whatever happens to the save.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_core::{Checksum, ChecksumAlgorithm, ETag, Error, ErrorKind, Key, Result};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::checksums::{Checking, Proof, WholeCrc};
use crate::client::{Client, Failed};
use crate::condition::Condition;
use crate::headers;
use crate::parts::{Part, Parts};
use crate::request::Request;
use crate::{stored, xml};

/// S3's limit for the number of parts ("Amazon S3 multipart upload limits").
pub(crate) const MAX_PARTS: u64 = 10_000;
/// The largest part of a payload whose size nobody knows.
const LARGEST_GUESS: u64 = 64 * 1024 * 1024;
/// After so many parts of an unknown payload their size doubles.
const GROWTH: u64 = 1_000;
const MIB: u64 = 1024 * 1024;

const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
const FULL_CRC: HeaderName = HeaderName::from_static("x-amz-checksum-crc64nvme");

/// How large each part is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartSizes {
    /// As configured.
    part_size: u64,
    first: u64,
    grow: bool,
}

impl PartSizes {
    /// Parts of at least `part_size` for a payload of this size; `may_differ` if the service takes
    /// parts of several sizes.
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

    /// The size of a part by its number, which begins at 1.
    pub(crate) fn of(self, number: usize) -> u64 {
        if !self.grow {
            return self.first;
        }
        let doublings = u32::try_from((number as u64 - 1) / GROWTH).unwrap_or(u32::MAX);
        let grown = self.first.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
        grown.min(LARGEST_GUESS.max(self.first))
    }

    /// How many parts are on their way at once, so that large ones do not take all memory.
    fn concurrency(self, number: usize, wanted: usize) -> usize {
        let fit = (wanted as u64 * self.part_size).max(4 * LARGEST_GUESS) / self.of(number);
        wanted.min(usize::try_from(fit).unwrap_or(usize::MAX)).max(1)
    }
}

/// An upload under way. Dropping it aborts it in the background: nothing of it is left, and nothing
/// was ever visible.
#[derive(Debug)]
pub(crate) struct Upload {
    client: Client,
    key: Key,
    id: String,
    checking: Checking,
    /// Parts on their way. They end before the upload is aborted, or they would outlive it.
    tasks: JoinSet<Result<Sent>>,
    parts: BTreeMap<usize, Sent>,
    is_over: bool,
}

/// A part that the service has.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) number: usize,
    pub(crate) len: u64,
    pub(crate) etag: String,
    pub(crate) checksum: Option<Checksum>,
}

/// What the service says of a completed upload.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) etag: Option<ETag>,
    pub(crate) size: u64,
}

impl Upload {
    /// Creates an upload. The request is not given up when the future is dropped: an upload whose
    /// name nobody learnt could not be aborted.
    pub(crate) async fn create(
        client: &Client,
        key: &Key,
        headers: HeaderMap,
        checking: Checking,
    ) -> Result<Self> {
        let (client, key) = (client.clone(), key.clone());
        let creating = tokio::spawn(async move {
            let mut request =
                Request::new(Method::POST, key.as_str()).query("uploads", "").headers(headers);
            if let Some(name) = checking.name_for_parts() {
                request = request.header(CHECKSUM_ALGORITHM, HeaderValue::from_static(name));
            }
            if checking.algorithm() == Some(ChecksumAlgorithm::Crc64Nvme) && checking.headers {
                request = request.header(CHECKSUM_TYPE, HeaderValue::from_static("FULL_OBJECT"));
            }
            let answer = client.document(&request).await?;
            let created: xml::Created = xml::proof("InitiateMultipartUploadResult", &answer.body)?;
            let is_encrypted = stored::check_encryption(&request.headers, &answer.headers);
            let (tasks, parts) = (JoinSet::new(), BTreeMap::new());
            let upload = Self {
                client,
                key: key.clone(),
                id: created.upload_id,
                checking,
                tasks,
                parts,
                is_over: false,
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

    /// Sends all parts, several at once, the first of which is at hand already.
    pub(crate) async fn send_all(
        &mut self,
        first: Part,
        rest: &mut Parts,
        sizes: PartSizes,
        concurrency: usize,
    ) -> Result<()> {
        let mut number = 1;
        let mut next = Some(first);
        while let Some(part) = next.take() {
            while self.tasks.len() >= sizes.concurrency(number, concurrency) {
                self.collect_one().await?;
            }
            self.send(number, part);
            if self.gathering(rest.is_at_end()).await? {
                break;
            }
            number += 1;
            if number as u64 > MAX_PARTS {
                return Err(too_many_parts());
            }
            next = Some(self.gathering(rest.next(sizes.of(number))).await?);
        }
        while !self.tasks.is_empty() {
            self.collect_one().await?;
        }
        Ok(())
    }

    /// Waits for the payload, but not longer than all parts are well.
    async fn gathering<T>(&mut self, gathered: impl Future<Output = Result<T>>) -> Result<T> {
        let mut gathered = std::pin::pin!(gathered);
        loop {
            tokio::select! {
                biased;
                done = &mut gathered => return done,
                Some(sent) = self.tasks.join_next() => self.note(sent)?,
            }
        }
    }

    async fn collect_one(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            Some(sent) => self.note(sent),
            None => Ok(()),
        }
    }

    fn note(&mut self, sent: Result<Result<Sent>, tokio::task::JoinError>) -> Result<()> {
        let sent =
            sent.map_err(|join| Error::unexpected("sending a part did not finish", join))??;
        self.parts.insert(sent.number, sent);
        Ok(())
    }

    fn send(&mut self, number: usize, part: Part) {
        let (client, key, id, checking) =
            (self.client.clone(), self.key.clone(), self.id.clone(), self.checking);
        self.tasks.spawn(async move {
            let Part { chunks, room } = part;
            let proof = checking.proof(&chunks, None).await?;
            let len = chunks.len();
            let text = number.to_string();
            let mut request = Request::new(Method::PUT, key.as_str())
                .query("partNumber", &text)
                .query("uploadId", &id);
            request = request.body(chunks);
            if let Some(proof) = &proof {
                request = request.verified_by(proof)?;
            }
            let answer = client.send(&request).await.map_err(of_part)?;
            drop(room);
            let etag = headers::new_etag(&answer.headers)?.to_string();
            Ok(Sent {
                number,
                len,
                etag,
                checksum: proof
                    .filter(|proof| proof.in_header)
                    .map(|Proof { checksum, .. }| checksum),
            })
        });
    }

    /// Runs copies of ranges as parts, several at once.
    pub(crate) async fn run_all<F>(
        &mut self,
        copies: impl Iterator<Item = F>,
        concurrency: usize,
    ) -> Result<()>
    where
        F: Future<Output = Result<Sent>> + Send + 'static,
    {
        for copy in copies {
            while self.tasks.len() >= concurrency {
                self.collect_one().await?;
            }
            self.tasks.spawn(copy);
        }
        while !self.tasks.is_empty() {
            self.collect_one().await?;
        }
        Ok(())
    }

    /// Makes the object visible, if the condition holds.
    pub(crate) async fn complete(
        &mut self,
        condition: &Condition,
        quoted: bool,
    ) -> Result<Completed> {
        let size = self.parts.values().map(|part| part.len).sum();
        let document =
            xml::Complete { parts: self.parts.values().map(|part| self.listed(part)).collect() };
        let body = xml::write("CompleteMultipartUpload", &document)?;
        let id = self.id.clone();
        let mut request = Request::new(Method::POST, self.key.as_str())
            .query("uploadId", &id)
            .body(body)
            .patiently();
        request = condition.put_on(request, quoted)?;
        let whole = self.whole_crc()?;
        if let Some(whole) = &whole {
            request = request
                .header(FULL_CRC, headers::header_value(&headers::base64_of(whole))?)
                .header(CHECKSUM_TYPE, HeaderValue::from_static("FULL_OBJECT"));
        }
        let client = self.client.clone();
        let outcome = client.document(&request).await;
        let etag = match outcome {
            Ok(answer) => {
                let completed =
                    xml::proof::<xml::Completed>("CompleteMultipartUploadResult", &answer.body)
                        .map_err(|error| {
                            condition.explain(error.with_context("the object may be stored").into())
                        })?;
                self.is_over = true;
                headers::etag_of(&completed.etag)
            }
            Err(failed) => self
                .completed_before(failed)
                .await
                .map_err(|failed| not_completed(condition, failed))?,
        };
        Ok(Completed { etag, size })
    }

    /// When the answer to a completion is lost and it is tried again, the upload is gone if the
    /// first attempt did it.
    async fn completed_before(&mut self, failed: Failed) -> Result<Option<ETag>, Failed> {
        if !is_gone(&failed) || !failed.may_have_happened {
            return Err(failed);
        }
        self.is_over = true;
        let there = self.client.send(&Request::new(Method::HEAD, self.key.as_str())).await;
        // The ETag of such an object ends in the number of its parts.
        let suffix = format!("-{}", self.parts.len());
        match there.ok().and_then(|answer| headers::etag(&answer.headers)) {
            Some(etag) if etag.opaque().ends_with(&suffix) => Ok(Some(etag)),
            _ => Err(failed),
        }
    }

    fn listed(&self, part: &Sent) -> xml::Part {
        let of = |algorithm| {
            part.checksum
                .as_ref()
                .filter(|checksum| checksum.algorithm() == algorithm)
                .map(headers::base64_of)
        };
        xml::Part {
            part_number: part.number,
            etag: part.etag.clone(),
            sha256: of(ChecksumAlgorithm::Sha256),
            crc64nvme: of(ChecksumAlgorithm::Crc64Nvme),
        }
    }

    /// The whole object's CRC, if it is known of every part.
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

    /// Aborts, and waits until it is done. The upload's own trouble is what the caller is to hear
    /// of.
    pub(crate) async fn abort(mut self) {
        self.tasks.shutdown().await;
        abort_after_all(&self.client, &self.key, &self.id).await;
        // Who is dropped before aborts it in the background.
        self.is_over = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut tasks = std::mem::take(&mut self.tasks);
        let (client, key, id) =
            (self.client.clone(), self.key.clone(), std::mem::take(&mut self.id));
        // Without a runtime there is nobody to abort it: `abort_stale_uploads` finds it later.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            tasks.shutdown().await;
            abort_after_all(&client, &key, &id).await;
        });
    }
}

/// Whether the upload is no longer there, as after another write of the key.
fn is_gone(failed: &Failed) -> bool {
    failed.code() == "NoSuchUpload"
}

/// The error of a completion. One that may have happened before leaves open what became of it.
fn not_completed(condition: &Condition, failed: Failed) -> Error {
    match (is_gone(&failed), failed.may_have_happened) {
        (true, true) => {
            let message = "the upload is gone after a completion whose answer was lost: whether the object was saved is \
                           not known, and by now there is another one, or none: look before trying again";
            Error::new(ErrorKind::Unexpected, message).with_source(failed.error)
        }
        (true, false) => condition.explain(failed).with_retryable(true),
        (false, _) => condition.explain(failed),
    }
}

/// The error of a part. Without its upload nothing of the save is left, so that it can be made
/// again.
pub(crate) fn of_part(failed: Failed) -> Error {
    let is_gone = is_gone(&failed);
    if is_gone { failed.error.with_retryable(true) } else { failed.error }
}

/// Aborts an upload. A part that was just arriving may outlive the first attempt
/// ("AbortMultipartUpload"), so a second one makes sure.
pub(crate) async fn abort(client: &Client, key: &str, id: &str) -> Result<()> {
    for _ in 0..2 {
        let request = Request::new(Method::DELETE, key).query("uploadId", id);
        match client.send(&request).await {
            Ok(_) => {}
            Err(failed) if is_gone(&failed) => return Ok(()),
            Err(failed) => return Err(failed.error),
        }
    }
    Ok(())
}

/// Aborts an upload of a save that has failed or is gone, so that nobody is to hear of further
/// trouble.
async fn abort_after_all(client: &Client, key: &Key, id: &str) {
    if let Err(error) = abort(client, key.as_str(), id).await {
        tracing::warn!(%error, "an upload could not be aborted; abort_stale_uploads finds it");
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
    fn parts_of_a_known_size_are_as_few_as_s3_allows() {
        assert_eq!(PartSizes::new(8 * MIB, Some(MIB), true).of(1), 8 * MIB);
        let five_tib = 5 << 40;
        let sizes = PartSizes::new(8 * MIB, Some(five_tib), true);
        assert!(sizes.of(1) * MAX_PARTS >= five_tib && sizes.of(1) < 600 * MIB);
        assert_eq!(sizes.concurrency(1, 8), 1);
    }

    #[test]
    fn parts_of_an_unknown_size_grow_up_to_a_limit() {
        let sizes = PartSizes::new(8 * MIB, None, true);
        assert_eq!([1, 1000, 1001, 2001, 10_000].map(|n| sizes.of(n) / MIB), [8, 8, 16, 32, 64]);
        assert_eq!(sizes.concurrency(1, 8), 8);
        assert_eq!(PartSizes::new(8 * MIB, None, false).of(10_000), 8 * MIB);
        assert_eq!(PartSizes::new(100 * MIB, None, true).of(10_000), 100 * MIB);
    }
}
