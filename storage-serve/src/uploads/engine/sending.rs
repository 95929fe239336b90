//! [`Sending`]: the parts of one request that are being stored, in the order of their numbers.

use std::collections::VecDeque;

use bytes::Bytes;
use storage_core::{Error, MultipartUpload, Part, Result};
use tokio_util::task::AbortOnDropHandle;

use super::budget::{Budget, Reservation};
use super::state::Segment;

/// How many parts of a request are stored at a time, at most, while the next one is gathered. A
/// backend in the network takes a round trip for each part.
const MAX_PARTS: usize = 3;

/// Parts that are being stored. Dropping it cancels that.
#[derive(Debug, Default)]
pub(super) struct Sending {
    parts: VecDeque<PartBeingStored>,
}

/// A part, its memory, and the segments whose bytes it contains.
#[derive(Debug)]
struct PartBeingStored {
    size: u64,
    segments: Vec<Segment>,
    put: AbortOnDropHandle<(Result<Part>, Option<Memory>)>,
}

/// The memory of a part, which the next one can use.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) bytes: Bytes,
    pub(super) reserved: Reservation,
}

/// A part whose turn has come, and that is stored or has failed.
pub(super) struct Sent {
    pub(super) part: Result<Part>,
    pub(super) segments: Vec<Segment>,
    pub(super) memory: Option<Memory>,
}

impl Sending {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the number of parts.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    /// Returns the number of bytes of all these parts.
    pub(super) fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Returns whether another part must wait. One request leaves memory to the others.
    pub(super) fn is_full(&self, budget: &Budget) -> bool {
        let limit = if budget.is_wanted() { 1 } else { MAX_PARTS };
        self.parts.len() >= limit
    }

    /// Begins to store a part, whose number follows those of the others.
    pub(super) fn push(
        &mut self,
        upload: MultipartUpload,
        number: u32,
        bytes: Bytes,
        reserved: Option<Reservation>,
        segments: Vec<Segment>,
        budget: Budget,
    ) {
        let size = bytes.len() as u64;
        let put = tokio::spawn(async move {
            let part = upload.put_part(number, bytes.clone()).await;
            let memory = reserved.map(|reserved| Memory { bytes, reserved });
            (part, memory.filter(|_| !budget.is_wanted()))
        });
        self.parts.push_back(PartBeingStored { size, segments, put: AbortOnDropHandle::new(put) });
    }

    /// Returns whether the first part has been stored or has failed.
    pub(super) fn is_first_done(&self) -> bool {
        self.parts.front().is_some_and(|part| part.put.is_finished())
    }

    /// Waits for the first part. Returns `None` if there is none.
    pub(super) async fn next(&mut self) -> Option<Sent> {
        // It stays the first one if this future is dropped.
        let put = (&mut self.parts.front_mut()?.put).await;
        let segments = self.parts.pop_front()?.segments;
        Some(match put {
            Ok((part, memory)) => Sent { part, segments, memory },
            Err(join) => {
                let part = Err(Error::unexpected("storing a part did not finish", join));
                Sent { part, segments, memory: None }
            }
        })
    }

    /// Waits until no part is being stored. A part that arrives later could replace one of the next
    /// request.
    pub(super) async fn finish(&mut self) {
        while self.next().await.is_some() {}
    }
}
