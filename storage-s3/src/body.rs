//! [`Body`]: the bytes of an open object, in order.
//!
//! If a connection breaks off or stalls, the body resumes at the next byte over another one, on the
//! condition that the object is still the same version. A large object is read over several
//! connections once its reader has read one part, as far as the memory limit allows.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use storage_core::{
    Checksum, ChecksumAlgorithm, Error, ErrorKind, Hasher, ObjectMeta, Result, Waits,
};
use tokio_util::task::AbortOnDropHandle;

use crate::budget::Reservation;
use crate::client::Response;
use crate::headers;
use crate::shared::Shared;
use crate::version::{ObjectVersion, ended_early, too_long};

/// The part of a body that has not been returned.
pub(crate) struct Body {
    s3: Shared,
    /// `None` if the object has no strong ETag, so that two responses cannot be joined.
    version: Option<ObjectVersion>,
    /// The positions that have not been returned.
    left: Range<u64>,
    /// How many bytes were returned.
    read: u64,
    /// The response that contains the next bytes.
    response: Option<Response>,
    /// Chunks of a range that was read ahead, in reverse order, and the memory that they use.
    arrived: Vec<Bytes>,
    reservation: Option<Reservation>,
    /// Ranges in flight, in order. The first one begins where `response` ends.
    ahead: VecDeque<ReadAhead>,
    /// The end of what has been requested: of `response`, or of the last range of `ahead`.
    planned: u64,
    waits: Waits,
    check: Option<(Hasher, Checksum)>,
}

/// A range that is read into memory.
struct ReadAhead {
    range: Range<u64>,
    task: AbortOnDropHandle<Result<Vec<Bytes>>>,
    reservation: Reservation,
}

impl Body {
    pub(crate) fn new(
        s3: &Shared,
        meta: &ObjectMeta,
        range: Range<u64>,
        response: Response,
    ) -> Self {
        let etag = meta.strong_etag().cloned();
        let version = etag.map(|etag| ObjectVersion {
            client: s3.client.clone(),
            key: meta.key.clone(),
            etag,
            size: meta.size,
            accepts_gzip: !s3.features.sends_stored_encoding,
        });
        let is_whole = range == (0..meta.size);
        let check = is_whole.then(|| checksum_of(&response)).flatten();
        Self {
            s3: s3.clone(),
            version,
            planned: range.end,
            left: range,
            read: 0,
            response: Some(response),
            arrived: Vec::new(),
            reservation: None,
            ahead: VecDeque::new(),
            waits: Waits::default(),
            check: check.map(|checksum| (Hasher::new(checksum.algorithm()), checksum)),
        }
    }

    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, |mut body| async move {
            let chunk = body.next().await?;
            Ok(chunk.map(|chunk| (chunk, body)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left.is_empty() {
            self.verify()?;
            return Ok(None);
        }
        let chunk = loop {
            if let Some(chunk) = self.arrived.pop() {
                break chunk;
            }
            self.reservation = None;
            if self.response.is_none() {
                self.open_next().await?;
                continue;
            }
            match self.next_from_connection().await {
                Ok(Some(chunk)) => break chunk,
                Ok(None) => {}
                Err(error) => self.wait_after(error).await?,
            }
        };
        self.left.start += chunk.len() as u64;
        self.read += chunk.len() as u64;
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&chunk);
        }
        self.waits.reset();
        self.read_ahead();
        Ok(Some(chunk))
    }

    /// Returns where the open response ends.
    fn connection_end(&self) -> u64 {
        self.ahead.front().map_or(self.planned, |ahead| ahead.range.start)
    }

    async fn next_from_connection(&mut self) -> Result<Option<Bytes>> {
        let wanted = self.connection_end() - self.left.start;
        let Some(response) = &mut self.response else { return Ok(None) };
        let Some(mut chunk) = response.next().await? else { return Err(ended_early(wanted)) };
        let len = chunk.len() as u64;
        if len > wanted && wanted == self.left.end - self.left.start {
            return Err(too_long());
        }
        if len >= wanted {
            // The bytes beyond it arrive over another connection.
            chunk.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            self.response = None;
        }
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Opens the source of the next bytes. An error is final, because each request was retried.
    async fn open_next(&mut self) -> Result<()> {
        // After a broken connection, the next bytes come before the ranges that were read ahead.
        let is_next = self.ahead.front().is_some_and(|ahead| ahead.range.start == self.left.start);
        if is_next { self.take_read_ahead().await } else { self.connect().await }
    }

    async fn take_read_ahead(&mut self) -> Result<()> {
        let Some(ReadAhead { task, reservation, range }) = self.ahead.pop_front() else {
            return Ok(());
        };
        let outcome =
            task.await.map_err(|join| Error::unexpected("reading a range did not finish", join))?;
        let Ok(mut chunks) = outcome else {
            // The range is read again over a connection of its own, which reports the error if it
            // persists.
            self.response = Some(self.version()?.get(range).await?);
            return Ok(());
        };
        chunks.reverse();
        self.arrived = chunks;
        self.reservation = Some(reservation);
        Ok(())
    }

    /// Requests the next bytes.
    async fn connect(&mut self) -> Result<()> {
        if self.planned <= self.left.start {
            self.planned = self.left.end;
        }
        let range = self.left.start..self.connection_end();
        tracing::debug!(at = range.start, "a body goes on over another connection");
        self.response = Some(self.version()?.get(range).await?);
        Ok(())
    }

    fn version(&self) -> Result<&ObjectVersion> {
        self.version
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "the object has no strong ETag"))
    }

    /// Waits before another attempt. Fails after several attempts without progress.
    async fn wait_after(&mut self, error: Error) -> Result<()> {
        self.response = None;
        let may_go_on = error.is_retryable() && self.version.is_some();
        match self.waits.next(error.retry_after()).filter(|_| may_go_on) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    /// Requests further ranges if the reader has read one part and memory is free. Otherwise the
    /// open response continues.
    fn read_ahead(&mut self) {
        let part = self.s3.part_size;
        let Some(version) = &self.version else { return };
        while self.read >= part && self.ahead.len() + 1 < self.s3.concurrency {
            let is_alone = self.ahead.is_empty() && self.response.is_some();
            // The open response brings one more part while the others begin.
            let start = if is_alone {
                self.planned.min(self.left.start.saturating_add(part))
            } else {
                self.planned
            };
            let range = start..start.saturating_add(part).min(self.left.end);
            if range.is_empty() {
                return;
            }
            let Some(reservation) = self.s3.read_budget.try_reserve(range.end - range.start) else {
                return;
            };
            self.planned = range.end;
            let (version, wanted) = (version.clone(), range.clone());
            let task = tokio::spawn(async move { version.read(wanted).await });
            self.ahead.push_back(ReadAhead {
                range,
                task: AbortOnDropHandle::new(task),
                reservation,
            });
        }
    }

    fn verify(&mut self) -> Result<()> {
        let Some((hasher, expected)) = self.check.take() else { return Ok(()) };
        if hasher.finish() == expected {
            return Ok(());
        }
        let message = format!(
            "the received bytes do not have the checksum {expected} that the service stores"
        );
        Err(Error::new(ErrorKind::Integrity, message))
    }
}

/// Returns the checksum of the whole object from a response. Prefers the cheapest one.
fn checksum_of(response: &Response) -> Option<Checksum> {
    if response.headers.get("x-amz-checksum-type").is_some_and(|kind| kind == "COMPOSITE") {
        return None;
    }
    headers::native_checksum(&response.headers, ChecksumAlgorithm::Crc64Nvme)
        .or_else(|| headers::native_checksum(&response.headers, ChecksumAlgorithm::Sha256))
}
