//! [`Upload`]: the multipart upload of a save or a copy, which is either completed or aborted.

use std::collections::BTreeMap;

use http::{HeaderMap, Method};
use storage_client::etag;
use storage_core::internal::compose_crc;
use storage_core::{Checksum, ETag, Error, ErrorKind, Key, Result};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::checksums::{BodyChecksum, ChecksumPolicy};
use crate::client::{Client, FailedRequest};
use crate::condition::Condition;
use crate::multipart::nonce;
use crate::multipart::remote::{RemoteUpload, is_gone, part_entry, part_error};
use crate::multipart::sizes::{MAX_PARTS, PartSizes};
use crate::parts::{Part, PartReader};
use crate::request::Request;

/// An upload in progress. Nothing is visible before completion. Dropping it aborts the upload in
/// the background, unless a completion may be running at the service.
#[derive(Debug)]
pub(crate) struct Upload {
    remote: RemoteUpload,
    checksum_policy: ChecksumPolicy,
    /// Parts in flight. They end before the upload is aborted, so that none arrives after it.
    tasks: JoinSet<Result<SentPart>>,
    parts: BTreeMap<usize, SentPart>,
    /// By which the object is recognised. `None` if the object has the nonce of another upload,
    /// because this one only changes its metadata.
    nonce: Option<String>,
    /// On which an upload that is dropped is aborted.
    runtime: Handle,
    state: State,
}

/// Whether the upload may be aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The service may be completing it. A service that aborts an upload meanwhile can lose the
    /// object, as Ceph does.
    Completing,
    /// It is completed or aborted, or a handle has it.
    Ended,
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
        mut headers: HeaderMap,
        checksum_policy: ChecksumPolicy,
    ) -> Result<Self> {
        let nonce = nonce::insert_new(&mut headers, key)?;
        let (client, key) = (client.clone(), key.clone());
        let creating = tokio::spawn(async move {
            let (remote, is_encrypted) =
                RemoteUpload::create(client, key, headers, checksum_policy).await?;
            let (tasks, parts) = (JoinSet::new(), BTreeMap::new());
            let runtime = Handle::current();
            let upload =
                Self { remote, checksum_policy, tasks, parts, nonce, runtime, state: State::Open };
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

    /// Returns the upload at the service.
    pub(crate) fn remote(&self) -> &RemoteUpload {
        &self.remote
    }

    /// Returns the upload at the service. From now on dropping does not abort it.
    pub(super) fn into_remote(mut self) -> RemoteUpload {
        self.state = State::Ended;
        self.remote.clone()
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
        let (remote, checksum_policy) = (self.remote.clone(), self.checksum_policy);
        self.tasks.spawn(async move {
            let Part { chunks, reservation } = part;
            let body_checksum = checksum_policy.body_checksum(&chunks, None).await?;
            let len = chunks.len();
            let etag = remote
                .put_part(number, chunks, body_checksum.as_ref())
                .await
                .map_err(part_error)?
                .to_string();
            drop(reservation);
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
    ///
    /// If the outcome is unknown, or if the future is dropped, the service may still be completing
    /// the upload. It is not aborted then. If the service did not complete it, it remains.
    pub(crate) async fn complete(
        &mut self,
        condition: &Condition,
        quoted: bool,
    ) -> Result<CompletedUpload> {
        let size = self.parts.values().map(|part| part.len).sum();
        let entries = self
            .parts
            .values()
            .map(|part| part_entry(part.number, part.etag.clone(), part.checksum.as_ref()))
            .collect();
        let whole = self.whole_crc();
        self.state = State::Completing;
        let etag =
            match self.remote.complete(entries, size, whole.as_ref(), condition, quoted).await {
                Ok(etag) => {
                    self.state = State::Ended;
                    etag
                }
                Err(failed) => self
                    .was_completed(failed)
                    .await
                    .map_err(|failed| completion_error(condition, failed))?,
            };
        Ok(CompletedUpload { etag, size })
    }

    /// Detects that a completion succeeded although its response was lost: the object under the key
    /// is the one of this upload. Returns its ETag.
    async fn was_completed(
        &mut self,
        failed: FailedRequest,
    ) -> Result<Option<ETag>, FailedRequest> {
        if !failed.may_have_succeeded && !failed.outcome_is_unknown() {
            self.state = State::Open;
            return Err(failed);
        }
        let RemoteUpload { client, key, .. } = &self.remote;
        let present = client.send(&Request::new(Method::HEAD, key.as_str())).await;
        let is_own = |headers: &HeaderMap| nonce::is_of(headers, self.nonce.as_deref(), key);
        match present.ok().filter(|response| is_own(&response.headers)) {
            Some(response) => {
                self.state = State::Ended;
                Ok(etag(&response.headers))
            }
            None => {
                if is_gone(&failed) {
                    self.state = State::Ended;
                }
                Err(failed)
            }
        }
    }

    /// Returns the CRC of the whole object, if that of every part is known.
    fn whole_crc(&self) -> Option<Checksum> {
        compose_crc(self.parts.values().map(|part| (part.checksum.as_ref(), part.len)))
    }

    /// Aborts the upload and waits until that is done, unless a completion may be running. A
    /// failure to abort is logged, so that the caller receives the error of the upload.
    pub(crate) async fn abort(mut self) {
        self.tasks.shutdown().await;
        if self.state == State::Open {
            self.remote.abort_and_log().await;
            // Until here, dropping the future aborts the upload in the background.
            self.state = State::Ended;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        match self.state {
            State::Open => {}
            State::Completing => {
                tracing::warn!(
                    "an upload may be left, because the outcome of its completion is unknown; \
                     Storage::abort_stale removes it later"
                );
                return;
            }
            State::Ended => return,
        }
        let mut tasks = std::mem::take(&mut self.tasks);
        let remote = self.remote.clone();
        // A writer of the blocking API is dropped outside of its runtime.
        self.runtime.spawn(async move {
            tasks.shutdown().await;
            remote.abort_and_log().await;
        });
    }
}

/// Returns the error of a completion. After an earlier attempt without a response it reports that
/// the outcome is unknown.
fn completion_error(condition: &Condition, failed: FailedRequest) -> Error {
    match (is_gone(&failed), failed.may_have_succeeded) {
        (true, true) => {
            let message = "the upload no longer exists after a completion whose response was lost, \
                           and the key has another object or none: whether the object was \
                           saved is unknown, so check it before you retry";
            Error::new(ErrorKind::Unexpected, message).with_source(failed.error)
        }
        (true, false) => condition.interpret(failed).with_retryable(true),
        (false, true) => of_unknown_outcome(failed),
        (false, false) => condition.interpret(failed),
    }
}

/// Returns the error of a completion of which an earlier attempt may have taken effect, or may
/// still be running: its kind must not be that of a request that was refused.
pub(super) fn of_unknown_outcome(failed: FailedRequest) -> Error {
    let message = "an earlier attempt to complete the upload had no response, so whether the object \
                   was saved is unknown";
    let mut error =
        Error::new(ErrorKind::Unexpected, message).with_retryable(failed.error.is_retryable());
    if let Some(wait) = failed.error.retry_after() {
        error = error.with_retry_after(wait);
    }
    error.with_source(failed.error)
}

fn too_many_parts() -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the payload has more than {MAX_PARTS} parts: declare its size (Payload::with_size) or raise part_size"
        ),
    )
}
