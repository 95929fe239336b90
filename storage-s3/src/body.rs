//! [`Body`]: the bytes of an open object, in order, whatever becomes of the connections they arrive on.
//!
//! A connection that breaks off or stalls is replaced by another that goes on at the next byte, on
//! the condition that the object is still the same version. A large object is read over several
//! connections, once its reader has shown that it reads on, and as far as there is room.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use storage_client::Backoff;
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Hasher, ObjectMeta, Result};
use tokio_util::task::AbortOnDropHandle;

use crate::budget::Room;
use crate::client::Answer;
use crate::headers;
use crate::shared::Shared;
use crate::version::{Version, ended_early, too_long};

/// What of a body has not been handed on.
pub(crate) struct Body {
    s3: Shared,
    /// `None` if the object has no strong ETag, so that no two answers can be spliced.
    version: Option<Version>,
    /// The positions of what is left.
    left: Range<u64>,
    /// How much was handed on.
    read: u64,
    /// The connection that the next bytes arrive on.
    answer: Option<Answer>,
    /// Pieces of a range that was read ahead, the first one last, and the room they take.
    arrived: Vec<Bytes>,
    room: Option<Room>,
    /// Ranges on their way, in order; the first begins where `answer` is to end.
    ahead: VecDeque<Ahead>,
    /// Up to where somebody is at work: the end of `answer`, or of the last range of `ahead`.
    planned: u64,
    waits: Backoff,
    check: Option<(Hasher, Checksum)>,
}

/// A range that is read into memory.
struct Ahead {
    range: Range<u64>,
    task: AbortOnDropHandle<Result<Vec<Bytes>>>,
    room: Room,
}

impl Body {
    pub(crate) fn new(s3: &Shared, meta: &ObjectMeta, range: Range<u64>, answer: Answer) -> Self {
        let etag = meta.strong_etag().cloned();
        let version = etag.map(|etag| Version {
            client: s3.client.clone(),
            key: meta.key.clone(),
            etag,
            size: meta.size,
            accepts_gzip: !s3.abilities.sends_stored_encoding,
        });
        let is_whole = range == (0..meta.size);
        let check = is_whole.then(|| checksum_of(&answer)).flatten();
        Self {
            s3: s3.clone(),
            version,
            planned: range.end,
            left: range,
            read: 0,
            answer: Some(answer),
            arrived: Vec::new(),
            room: None,
            ahead: VecDeque::new(),
            waits: Backoff::default(),
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
            self.room = None;
            if self.answer.is_none() {
                self.go_on().await?;
                continue;
            }
            match self.next_of_answer().await {
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

    /// Where the connection that is open is to end.
    fn answer_end(&self) -> u64 {
        self.ahead.front().map_or(self.planned, |ahead| ahead.range.start)
    }

    async fn next_of_answer(&mut self) -> Result<Option<Bytes>> {
        let wanted = self.answer_end() - self.left.start;
        let Some(answer) = &mut self.answer else { return Ok(None) };
        let Some(mut chunk) = answer.next().await? else { return Err(ended_early(wanted)) };
        let len = chunk.len() as u64;
        if len > wanted && wanted == self.left.end - self.left.start {
            return Err(too_long());
        }
        if len >= wanted {
            // What it brings beyond its share comes over another connection.
            chunk.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            self.answer = None;
        }
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Finds where the next bytes come from. An error is final: each request has been tried again
    /// as often as any other.
    async fn go_on(&mut self) -> Result<()> {
        // Where a connection broke off, what is ahead does not come next.
        let is_next = self.ahead.front().is_some_and(|ahead| ahead.range.start == self.left.start);
        if is_next { self.take_ahead().await } else { self.connect().await }
    }

    async fn take_ahead(&mut self) -> Result<()> {
        let Some(Ahead { task, room, range }) = self.ahead.pop_front() else { return Ok(()) };
        let outcome =
            task.await.map_err(|join| Error::unexpected("reading a range did not finish", join))?;
        let Ok(mut chunks) = outcome else {
            // What became of it shows when it is read again, over a connection of its own.
            self.answer = Some(self.version()?.get(range).await?);
            return Ok(());
        };
        chunks.reverse();
        self.arrived = chunks;
        self.room = Some(room);
        Ok(())
    }

    /// Opens a connection for the next bytes.
    async fn connect(&mut self) -> Result<()> {
        if self.planned <= self.left.start {
            self.planned = self.left.end;
        }
        let range = self.left.start..self.answer_end();
        tracing::debug!(at = range.start, "a body goes on over another connection");
        self.answer = Some(self.version()?.get(range).await?);
        Ok(())
    }

    fn version(&self) -> Result<&Version> {
        self.version
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "the object has no strong ETag"))
    }

    /// Waits before another attempt; gives up after several without progress.
    async fn wait_after(&mut self, error: Error) -> Result<()> {
        self.answer = None;
        let may_go_on = error.is_retryable() && self.version.is_some();
        match self.waits.next_delay(error.retry_after()).filter(|_| may_go_on) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    /// Asks for further ranges, if the reader has read a part's worth, and there is room. Where
    /// there is none, the one connection does.
    fn read_ahead(&mut self) {
        let part = self.s3.part_size;
        let Some(version) = &self.version else { return };
        while self.read >= part && self.ahead.len() + 1 < self.s3.concurrency {
            let is_alone = self.ahead.is_empty() && self.answer.is_some();
            // A connection that is open brings another part, while the others begin.
            let start = if is_alone {
                self.planned.min(self.left.start.saturating_add(part))
            } else {
                self.planned
            };
            let range = start..start.saturating_add(part).min(self.left.end);
            if range.is_empty() {
                return;
            }
            let Some(room) = self.s3.read_budget.now(range.end - range.start) else { return };
            self.planned = range.end;
            let (version, asked_for) = (version.clone(), range.clone());
            let task = tokio::spawn(async move { version.read(asked_for).await });
            self.ahead.push_back(Ahead { range, task: AbortOnDropHandle::new(task), room });
        }
    }

    fn verify(&mut self) -> Result<()> {
        let Some((hasher, expected)) = self.check.take() else { return Ok(()) };
        if hasher.finish() == expected {
            return Ok(());
        }
        let message = format!(
            "the bytes that arrived do not have the checksum {expected} that the service keeps"
        );
        Err(Error::new(ErrorKind::Integrity, message))
    }
}

/// The checksum of the whole object that came with an answer; the cheapest, if there are several.
fn checksum_of(answer: &Answer) -> Option<Checksum> {
    if answer.headers.get("x-amz-checksum-type").is_some_and(|kind| kind == "COMPOSITE") {
        return None;
    }
    headers::native_checksum(&answer.headers, ChecksumAlgorithm::Crc64Nvme)
        .or_else(|| headers::native_checksum(&answer.headers, ChecksumAlgorithm::Sha256))
}
