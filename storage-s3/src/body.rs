//! [`Body`]: the bytes of an open object, in order.
//!
//! If a connection breaks off or stalls, the body resumes at the next byte over another one, if the
//! object is still the same version. After the reader has read one part, further ranges are read
//! ahead over other connections, as far as the memory limit allows.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use storage_client::{Response, ResumableBody, Segment};
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Hasher, ObjectMeta, Result};
use tokio_util::task::AbortOnDropHandle;

use crate::budget::Reservation;
use crate::headers;
use crate::shared::Shared;
use crate::version::ObjectVersion;

/// The part of a body that has not been returned.
pub(crate) struct Body {
    s3: Shared,
    /// `None` if the object has no strong ETag, so that two responses cannot be joined.
    version: Option<ObjectVersion>,
    /// The positions that have not been returned.
    left: Range<u64>,
    /// How many bytes were returned.
    read: u64,
    /// The connection of the next bytes. Ends where the first range of `ahead` begins.
    current: Option<ResumableBody<ObjectVersion>>,
    /// The chunks of a range that was read ahead, in reverse order. `reservation` is for the memory
    /// that they use.
    arrived: Vec<Bytes>,
    reservation: Option<Reservation>,
    /// Ranges in flight, in order.
    ahead: VecDeque<ReadAhead>,
    /// The end of what has been requested: of `current`, or of the last range of `ahead`.
    planned: u64,
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
        version_id: Option<Arc<str>>,
        range: Range<u64>,
        response: Response,
    ) -> Self {
        let etag = meta.strong_etag().cloned();
        let version = etag.map(|etag| ObjectVersion {
            client: s3.client.clone(),
            key: meta.key.clone(),
            version_id,
            etag,
            size: meta.size,
            accepts_gzip: !s3.features.sends_stored_encoding,
        });
        let is_whole = range == (0..meta.size);
        let check = is_whole.then(|| checksum_of(&response)).flatten();
        let segment = Segment::new(response.body, range.clone());
        Self {
            s3: s3.clone(),
            current: Some(ResumableBody::new(range.clone(), Some(segment), version.clone())),
            version,
            planned: range.end,
            left: range,
            read: 0,
            arrived: Vec::new(),
            reservation: None,
            ahead: VecDeque::new(),
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
            match &mut self.current {
                Some(current) => match current.next().await? {
                    Some(chunk) => break chunk,
                    None => self.current = None,
                },
                None => self.open_next().await?,
            }
        };
        // Returns a finished connection to the pool.
        if self.current.as_ref().is_some_and(|current| current.remaining().is_empty()) {
            self.current = None;
        }
        self.left.start += chunk.len() as u64;
        self.read += chunk.len() as u64;
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&chunk);
        }
        self.read_ahead();
        Ok(Some(chunk))
    }

    /// Opens the source of the next bytes: the first range that was read ahead, or a connection for
    /// all that is left.
    async fn open_next(&mut self) -> Result<()> {
        let Some(ReadAhead { range, task, reservation }) = self.ahead.pop_front() else {
            self.planned = self.left.end;
            self.current = Some(self.version()?.range(self.left.clone()));
            return Ok(());
        };
        let outcome =
            task.await.map_err(|join| Error::unexpected("reading a range did not finish", join))?;
        match outcome {
            Ok(mut chunks) => {
                chunks.reverse();
                self.arrived = chunks;
                self.reservation = Some(reservation);
            }
            // The range is read again over a connection of its own, which reports the error if it
            // persists.
            Err(_) => self.current = Some(self.version()?.range(range)),
        }
        Ok(())
    }

    fn version(&self) -> Result<&ObjectVersion> {
        self.version.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Unexpected,
                "the body cannot continue, because the object has no strong ETag",
            )
        })
    }

    /// Requests further ranges if the reader has read one part and memory is free. Otherwise the
    /// current connection continues.
    fn read_ahead(&mut self) {
        let part = self.s3.part_size;
        let Some(version) = &self.version else { return };
        while self.read >= part && self.ahead.len() + 1 < self.s3.concurrency {
            let current = self.current.as_mut().filter(|_| self.ahead.is_empty());
            // The current connection continues for one more part while the others begin.
            let start = match current {
                Some(_) => self.planned.min(self.left.start.saturating_add(part)),
                None => self.planned,
            };
            let range = start..start.saturating_add(part).min(self.left.end);
            if range.is_empty() {
                return;
            }
            let Some(reservation) = self.s3.read_budget.try_reserve(range.end - range.start) else {
                return;
            };
            if let Some(current) = current {
                current.shorten(start);
            }
            self.planned = range.end;
            let reading = tokio::spawn(version.range(range.clone()).read_to_end());
            let task = AbortOnDropHandle::new(reading);
            self.ahead.push_back(ReadAhead { range, task, reservation });
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
    let by_cost =
        [ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Sha256];
    by_cost.into_iter().find_map(|algorithm| headers::native_checksum(&response.headers, algorithm))
}
