//! [`Parts`]: a payload, cut into the parts of an upload.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use storage_core::{Checksums, PayloadStream, Result};

use crate::budget::{Budget, Room};
use crate::request::Chunks;

/// Chunks from this size on are sent as they are; smaller ones are gathered, lest a part be made of
/// thousands, each keeping a larger buffer alive.
const LARGE: usize = 32 * 1024;
/// How much is gathered at a time.
const GATHERED: usize = 1024 * 1024;
/// For how long a payload that yields nothing keeps its place.
const STALL: Duration = Duration::from_secs(1);

/// Bytes of a payload, with the room they take.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) chunks: Chunks,
    /// `None` for bytes that were in memory before, and where a payload stalled.
    pub(crate) room: Option<Room>,
}

/// Where the bytes come from.
enum Source {
    Memory(Bytes),
    Stream(PayloadStream),
}

/// A payload, cut into parts.
pub(crate) struct Parts {
    source: Source,
    /// What was read beyond the last part.
    rest: Bytes,
    budget: Budget,
}

impl Parts {
    /// Bytes in memory, whose checks have run. Cutting them copies nothing.
    pub(crate) fn of_bytes(bytes: Bytes, budget: &Budget) -> Self {
        Self { source: Source::Memory(bytes), rest: Bytes::new(), budget: budget.clone() }
    }

    /// A stream, checked as it passes.
    pub(crate) fn of_stream(stream: PayloadStream, budget: &Budget) -> Self {
        Self { source: Source::Stream(stream), rest: Bytes::new(), budget: budget.clone() }
    }

    /// The next `size` bytes; fewer at the end only.
    ///
    /// Waits for room before it gathers, so that many saves at once do not take all memory. A
    /// payload that stalls on the way gives its room back: it must not hold up others.
    pub(crate) async fn next(&mut self, size: u64) -> Result<Part> {
        let wanted = usize::try_from(size).unwrap_or(usize::MAX);
        let stream = match &mut self.source {
            Source::Memory(bytes) => {
                let part = bytes.split_to(bytes.len().min(wanted));
                return Ok(Part { chunks: part.into(), room: None });
            }
            Source::Stream(stream) => stream,
        };
        if self.rest.is_empty() {
            // Nobody who has nothing yet takes room.
            self.rest = stream.try_next().await?.unwrap_or_default();
        }
        let mut room = if self.rest.is_empty() { None } else { self.budget.wait(size).await };
        let mut gathered = Gathered::default();
        loop {
            let take = self.rest.len().min(wanted - gathered.len);
            gathered.push(self.rest.split_to(take));
            if gathered.len == wanted {
                break;
            }
            let next = match tokio::time::timeout(STALL, stream.try_next()).await {
                Ok(next) => next?,
                Err(_) => {
                    room = None;
                    stream.try_next().await?
                }
            };
            match next {
                Some(chunk) => self.rest = chunk,
                None => break,
            }
        }
        Ok(Part { chunks: gathered.finish(), room })
    }

    /// Whether all has been read, and the payload's checks held.
    pub(crate) async fn is_at_end(&mut self) -> Result<bool> {
        match &mut self.source {
            Source::Memory(bytes) => Ok(bytes.is_empty()),
            Source::Stream(stream) => {
                if self.rest.is_empty() {
                    self.rest = stream.try_next().await?.unwrap_or_default();
                }
                Ok(self.rest.is_empty())
            }
        }
    }

    /// The same, for whoever holds a part until it is known: a payload that stalls gives the part's
    /// room back.
    pub(crate) async fn is_at_end_after(&mut self, part: &mut Part) -> Result<bool> {
        if let Ok(known) = tokio::time::timeout(STALL, self.is_at_end()).await {
            return known;
        }
        part.room = None;
        self.is_at_end().await
    }

    /// What the stream's checks computed, at its end.
    pub(crate) fn checksums(&self) -> Option<&Checksums> {
        match &self.source {
            Source::Memory(_) => None,
            Source::Stream(stream) => stream.checksums(),
        }
    }
}

/// Chunks on their way into a part.
#[derive(Default)]
struct Gathered {
    chunks: Vec<Bytes>,
    /// A small chunk that is not copied unless another follows.
    lone: Bytes,
    small: BytesMut,
    len: usize,
}

impl Gathered {
    fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() >= LARGE {
            self.flush();
            self.chunks.push(chunk);
        } else if self.small.is_empty() && self.lone.is_empty() {
            self.lone = chunk;
        } else {
            let lone = std::mem::take(&mut self.lone);
            self.small.extend_from_slice(&lone);
            self.small.extend_from_slice(&chunk);
            if self.small.len() >= GATHERED {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let lone = std::mem::take(&mut self.lone);
        let small = self.small.split().freeze();
        self.chunks.extend([lone, small].into_iter().filter(|chunk| !chunk.is_empty()));
    }

    fn finish(mut self) -> Chunks {
        self.flush();
        self.chunks.into()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use storage_core::{Error, Payload};

    use super::*;

    fn parts(chunks: Vec<Bytes>) -> Parts {
        let payload = Payload::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Error>)));
        Parts::of_stream(payload.into_stream(), &Budget::new(u64::MAX))
    }

    async fn all(mut parts: Parts, size: u64) -> Vec<Vec<u8>> {
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
    async fn an_end_on_the_border_of_a_part_makes_no_empty_part() {
        let chunks = vec![Bytes::from(vec![1; 10]), Bytes::from(vec![2; 10])];
        assert_eq!(all(parts(chunks), 10).await.len(), 2);
        assert_eq!(all(parts(Vec::new()), 10).await, [Vec::<u8>::new()]);
    }

    #[tokio::test]
    async fn a_chunk_that_stands_alone_is_not_copied() {
        let chunk = Bytes::from(vec![1; 10]);
        let address = chunk.as_ptr();
        let part = parts(vec![chunk]).next(100).await.unwrap();
        assert_eq!(part.chunks.iter().next().unwrap().as_ptr(), address);
    }

    #[tokio::test(start_paused = true)]
    async fn a_payload_that_stalls_gives_its_room_back() {
        let budget = Budget::new(100);
        let chunks =
            stream::iter([Ok::<_, Error>(Bytes::from_static(b"x"))]).chain(stream::pending());
        let mut stalled = Parts::of_stream(Payload::from_stream(chunks).into_stream(), &budget);
        let waiting = tokio::spawn(async move { stalled.next(100).await.map(|_| ()) });
        // There is room for one only.
        assert!(budget.wait(100).await.is_some());
        waiting.abort();
    }

    use futures_util::StreamExt;
}
