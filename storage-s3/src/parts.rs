//! [`PartReader`]: splits a payload into the parts of an upload.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use storage_core::internal::run_blocking;
use storage_core::{Checksums, Payload, PayloadStream, Result};

use crate::budget::{Budget, Reservation};
use crate::request::Chunks;

/// A chunk of at least this size, in bytes, is sent as it is. Smaller chunks are copied together,
/// so that a part does not consist of thousands of chunks, each of which keeps a larger buffer
/// alive.
const MIN_SEPARATE_CHUNK: usize = 32 * 1024;
/// Hashing a payload in memory of at least this size, in bytes, runs on a blocking thread.
const OFFLOAD_THRESHOLD: usize = 256 * 1024;
/// How many bytes of small chunks are copied into one buffer.
const BUFFER_SIZE: usize = 1024 * 1024;
/// A payload that yields no chunk for this long releases its reservation (1 s).
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a payload, with the memory reserved for them.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) chunks: Chunks,
    /// `None` for bytes that were in memory before, and for a payload that stalled.
    pub(crate) reservation: Option<Reservation>,
}

/// The source of the bytes.
enum ByteSource {
    Memory(Bytes),
    Stream(PayloadStream),
}

/// Reads a payload part by part.
pub(crate) struct PartReader {
    source: ByteSource,
    /// Bytes that were read beyond the last part.
    rest: Bytes,
    budget: Budget,
}

impl PartReader {
    /// Reads a payload. The checks of a payload in memory run at once, and its checksums are
    /// returned. A stream checks itself while it is read.
    pub(crate) async fn of_payload(
        payload: Payload,
        budget: &Budget,
    ) -> Result<(Self, Option<Checksums>)> {
        let has_checksums =
            !payload.expected_checksums().is_empty() || !payload.computed_checksums().is_empty();
        let memory = match payload.into_memory() {
            Ok(memory) => memory,
            Err(payload) => return Ok((Self::from_stream(payload.into_stream(), budget), None)),
        };
        let (bytes, checksums) = if memory.len() >= OFFLOAD_THRESHOLD && has_checksums {
            run_blocking(|| memory.checked()).await?
        } else {
            memory.checked()?
        };
        Ok((Self::from_bytes(bytes, budget), Some(checksums)))
    }

    /// Reads bytes in memory that were checked. Splitting them copies nothing.
    pub(crate) fn from_bytes(bytes: Bytes, budget: &Budget) -> Self {
        Self { source: ByteSource::Memory(bytes), rest: Bytes::new(), budget: budget.clone() }
    }

    /// Reads a stream that checks itself.
    pub(crate) fn from_stream(stream: PayloadStream, budget: &Budget) -> Self {
        Self { source: ByteSource::Stream(stream), rest: Bytes::new(), budget: budget.clone() }
    }

    /// Returns the next `size` bytes, or fewer at the end.
    ///
    /// Waits until memory is available before it buffers. A payload that stalls releases its
    /// reservation, so that it does not block other saves, and waits for another one when it goes
    /// on. Meanwhile its bytes are in memory without a reservation.
    pub(crate) async fn next(&mut self, size: u64) -> Result<Part> {
        let wanted = usize::try_from(size).unwrap_or(usize::MAX);
        let stream = match &mut self.source {
            ByteSource::Memory(bytes) => {
                let part = bytes.split_to(bytes.len().min(wanted));
                return Ok(Part { chunks: part.into(), reservation: None });
            }
            ByteSource::Stream(stream) => stream,
        };
        if self.rest.is_empty() {
            // Memory is reserved only once there is a first byte.
            self.rest = stream.try_next().await?.unwrap_or_default();
        }
        let mut reservation =
            if self.rest.is_empty() { None } else { self.budget.reserve(size).await };
        let mut buffer = ChunkBuffer::default();
        loop {
            let take = self.rest.len().min(wanted - buffer.len);
            buffer.push(self.rest.split_to(take));
            if buffer.len == wanted {
                break;
            }
            let next = match tokio::time::timeout(STALL_TIMEOUT, stream.try_next()).await {
                Ok(next) => next?,
                Err(_) => {
                    drop(reservation.take());
                    let next = stream.try_next().await?;
                    // The part grows again, so it waits for memory as at its beginning.
                    reservation = self.budget.reserve(size).await;
                    next
                }
            };
            match next {
                Some(chunk) => self.rest = chunk,
                None => break,
            }
        }
        Ok(Part { chunks: buffer.finish(), reservation })
    }

    /// Returns whether all bytes were read, and fails if a check of the payload does.
    pub(crate) async fn is_at_end(&mut self) -> Result<bool> {
        match &mut self.source {
            ByteSource::Memory(bytes) => Ok(bytes.is_empty()),
            ByteSource::Stream(stream) => {
                if self.rest.is_empty() {
                    self.rest = stream.try_next().await?.unwrap_or_default();
                }
                Ok(self.rest.is_empty())
            }
        }
    }

    /// Does the same as [`is_at_end`](Self::is_at_end) while a part is kept. If the payload stalls,
    /// releases the part's reservation.
    pub(crate) async fn is_at_end_after(&mut self, part: &mut Part) -> Result<bool> {
        if let Ok(known) = tokio::time::timeout(STALL_TIMEOUT, self.is_at_end()).await {
            return known;
        }
        part.reservation = None;
        self.is_at_end().await
    }

    /// Returns the checksums that the stream computed, at its end.
    pub(crate) fn checksums(&self) -> Option<&Checksums> {
        match &self.source {
            ByteSource::Memory(_) => None,
            ByteSource::Stream(stream) => stream.checksums(),
        }
    }
}

/// Collects the chunks of one part.
#[derive(Default)]
struct ChunkBuffer {
    chunks: Vec<Bytes>,
    /// A small chunk, which is copied only if another one follows.
    single: Bytes,
    small: BytesMut,
    len: usize,
}

impl ChunkBuffer {
    fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() >= MIN_SEPARATE_CHUNK {
            self.flush();
            self.chunks.push(chunk);
        } else if self.small.is_empty() && self.single.is_empty() {
            self.single = chunk;
        } else {
            let single = std::mem::take(&mut self.single);
            self.small.extend_from_slice(&single);
            self.small.extend_from_slice(&chunk);
            if self.small.len() >= BUFFER_SIZE {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let single = std::mem::take(&mut self.single);
        let small = self.small.split().freeze();
        self.chunks.extend([single, small].into_iter().filter(|chunk| !chunk.is_empty()));
    }

    fn finish(mut self) -> Chunks {
        self.flush();
        self.chunks.into()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use storage_core::Error;

    use super::*;

    fn parts(chunks: Vec<Bytes>) -> PartReader {
        let payload = Payload::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Error>)));
        PartReader::from_stream(payload.into_stream(), &Budget::new(u64::MAX))
    }

    async fn all(mut parts: PartReader, size: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let part = parts.next(size).await.unwrap();
            all.push(part.chunks.iter().flatten().copied().collect());
            if parts.is_at_end().await.unwrap() {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn a_part_has_the_wanted_size_wherever_the_chunks_end() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
        for chunk in [1_000, 40_000, 333_333, 1_000_000] {
            let chunks = bytes.chunks(chunk).map(Bytes::copy_from_slice).collect();
            let cut = all(parts(chunks), 300_000).await;
            assert_eq!(
                cut.iter().map(Vec::len).collect::<Vec<_>>(),
                [300_000, 300_000, 300_000, 100_000]
            );
            assert_eq!(cut.concat(), bytes);
        }
    }

    #[tokio::test]
    async fn a_payload_that_ends_with_a_part_causes_no_empty_part() {
        let chunks = vec![Bytes::from(vec![1; 10]), Bytes::from(vec![2; 10])];
        assert_eq!(all(parts(chunks), 10).await.len(), 2);
        assert_eq!(all(parts(Vec::new()), 10).await, [Vec::<u8>::new()]);
    }

    #[tokio::test]
    async fn a_single_chunk_is_not_copied() {
        let chunk = Bytes::from(vec![1; 10]);
        let address = chunk.as_ptr();
        let part = parts(vec![chunk]).next(100).await.unwrap();
        assert_eq!(part.chunks.iter().next().unwrap().as_ptr(), address);
    }

    #[tokio::test(start_paused = true)]
    async fn a_payload_that_stalls_releases_its_reservation() {
        let budget = Budget::new(100);
        let chunks =
            stream::iter([Ok::<_, Error>(Bytes::from_static(b"x"))]).chain(stream::pending());
        let mut stalled =
            PartReader::from_stream(Payload::from_stream(chunks).into_stream(), &budget);
        let waiting = tokio::spawn(async move { stalled.next(100).await.map(|_| ()) });
        // Only one reservation fits.
        assert!(budget.reserve(100).await.is_some());
        waiting.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_payload_that_goes_on_after_it_stalled_reserves_its_part_again() {
        let budget = Budget::new(100);
        let late = stream::once(async {
            tokio::time::sleep(2 * STALL_TIMEOUT).await;
            Ok::<_, Error>(Bytes::from_static(b"y"))
        });
        let chunks = stream::iter([Ok(Bytes::from_static(b"x"))]).chain(late);
        let mut stalled =
            PartReader::from_stream(Payload::from_stream(chunks).into_stream(), &budget);
        let part = tokio::spawn(async move { stalled.next(100).await });
        let other = budget.reserve(100).await;
        tokio::time::sleep(10 * STALL_TIMEOUT).await;
        assert!(!part.is_finished());
        drop(other);
        let part = part.await.unwrap().unwrap();
        assert_eq!(part.chunks.len(), 2);
        assert!(part.reservation.is_some() && budget.try_reserve(100).is_none());
    }

    use futures_util::StreamExt;
}
