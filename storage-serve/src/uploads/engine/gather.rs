//! [`Gather`]: the bytes of one request become parts of one size, and a rest.

use bytes::{Bytes, BytesMut};
use storage_core::Error;
use tokio::time::{Duration, Instant};

use super::budget::Reservation;
use super::checksum::ExpectedChecksum;
use super::part_buffer::PartBuffer;
use super::sending::Sending;
use super::state::{Segment, State};
use super::store::Loaded;
use super::{Engine, Failure};

/// How many bytes arrive between two commits of the state, at most (64 MiB), or one part.
const COMMIT_INTERVAL: u64 = 64 << 20;

/// How long after a commit the next part is committed too, so that a process that ends costs a slow
/// client little.
const COMMIT_PAUSE: Duration = Duration::from_secs(10);

/// How many segments a request leaves at most. More of them become one.
const MAX_SEGMENTS: usize = 16;

/// The work on the body of one request.
pub(super) struct Gather<'a> {
    engine: &'a Engine,
    /// The upload as it is committed.
    loaded: Loaded,
    /// The upload with the parts and segments that are stored since.
    pub(super) state: State,
    /// The parts after those of `state`, which are being stored while the next one is gathered.
    sending: Sending,
    /// The bytes after these parts and the segments of `state`.
    buffer: PartBuffer,
    checksum: Option<ExpectedChecksum>,
    /// The segments that this request has stored, and that no committed state names.
    unnamed: Vec<Segment>,
    committed_at: Instant,
}

impl<'a> Gather<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        loaded: Loaded,
        state: State,
        body_size: Option<u64>,
        checksum: Option<ExpectedChecksum>,
    ) -> Self {
        let capacity = body_size.unwrap_or(u64::MAX).min(state.part_size);
        let buffer = PartBuffer::new(engine.budget.clone(), capacity);
        Self {
            engine,
            loaded,
            state,
            buffer,
            sending: Sending::default(),
            checksum,
            unnamed: Vec::new(),
            committed_at: Instant::now(),
        }
    }

    /// Returns where the received bytes end.
    pub(super) fn offset(&self) -> u64 {
        self.state.offset() + self.sending.size() + self.buffer.len()
    }

    /// Takes the next bytes, and stores every part that is full.
    pub(super) async fn push(&mut self, mut chunk: Bytes) -> Result<(), Failure> {
        self.state.check_end(self.offset().saturating_add(chunk.len() as u64))?;
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&chunk);
        }
        while !chunk.is_empty() {
            let missing = self.state.part_size - self.gathered();
            let taken = usize::try_from(missing).unwrap_or(usize::MAX).min(chunk.len());
            let piece = chunk.split_to(taken);
            self.make_room(piece.len() as u64).await?;
            self.buffer.push(&piece);
            // The last part is stored at the end, whether it is full or not.
            let is_full = self.gathered() == self.state.part_size;
            if is_full && self.state.length != Some(self.offset()) {
                self.store_part().await?;
            }
        }
        Ok(())
    }

    /// Gives memory back if other requests wait for some: that of stored parts, and after a time
    /// that of the buffer, which it stores.
    pub(super) async fn yield_room(&mut self) -> Result<(), Failure> {
        if !self.engine.budget.is_wanted() {
            return Ok(());
        }
        while self.sending.is_first_done() {
            self.join_part().await?;
        }
        self.buffer.release_spare();
        match self.buffer.should_yield() {
            true => self.store_segment().await,
            false => Ok(()),
        }
    }

    /// Returns the number of bytes after the parts, also after those that are being stored.
    fn gathered(&self) -> u64 {
        self.state.rest_size() + self.buffer.len()
    }

    /// Reserves memory. If there is none, the buffer is stored, so that this waits without any.
    async fn make_room(&mut self, bytes: u64) -> Result<(), Failure> {
        if self.buffer.has_room(bytes) {
            return Ok(());
        }
        self.join_parts().await?;
        if self.buffer.has_room(bytes) {
            return Ok(());
        }
        self.store_segment().await?;
        Ok(self.buffer.wait_for_room(bytes).await?)
    }

    /// Stores the gathered bytes as the next part, in the background.
    async fn store_part(&mut self) -> Result<(), Failure> {
        while self.sending.is_full(&self.engine.budget) {
            self.join_part().await?;
        }
        let segments = self.state.rest.clone();
        let (bytes, reserved) = self.take_part().await?;
        let number = self.state.next_part().saturating_add(self.sending.len());
        // Bytes whose checksum is not verified yet may have been damaged on their way.
        if self.checksum.is_none()
            && let Err(failure) = self.engine.check_first_part(&self.loaded, number, &bytes).await
        {
            self.state.rest = segments;
            return Err(failure);
        }
        let upload = self.engine.upload(&self.state)?;
        let budget = self.engine.budget.clone();
        self.sending.push(upload, number, bytes, reserved, segments, budget);
        Ok(())
    }

    /// Returns all bytes after the parts: those of the segments, and the buffer.
    async fn take_part(&mut self) -> Result<(Bytes, Option<Reservation>), Failure> {
        let before = self.state.rest_size();
        if before == 0 {
            return Ok(self.buffer.take());
        }
        // The segments are read into memory, so they need room too.
        let mut room = self.engine.budget.try_reserve(before);
        if room.is_none() {
            self.store_segment().await?;
            room = Some(self.engine.budget.reserve(self.state.rest_size()).await?);
        }
        let total = usize::try_from(self.gathered())
            .map_err(|cause| Error::unexpected("a part does not fit into memory", cause))?;
        let mut bytes = BytesMut::with_capacity(total);
        for segment in &self.state.rest {
            bytes.extend_from_slice(&self.load_segment(segment).await?);
        }
        let (after, reserved) = self.buffer.take();
        bytes.extend_from_slice(&after);
        self.state.rest.clear();
        let room = match (room, reserved) {
            (Some(mut room), Some(more)) => {
                room.merge(more);
                Some(room)
            }
            (room, more) => room.or(more),
        };
        Ok((bytes.freeze(), room))
    }

    /// Reads a segment. If another request has replaced it meanwhile, that request is newer.
    async fn load_segment(&self, segment: &Segment) -> Result<Bytes, Failure> {
        let id = &self.loaded.id;
        match self.engine.states.load_segment(id, segment).await {
            Err(error) if error.is_not_found() => {
                let now = self.engine.load(id).await?;
                if now.state == self.loaded.state {
                    return Err(Error::unexpected("a rest of the upload is missing", error).into());
                }
                Err(Failure::Superseded)
            }
            bytes => Ok(bytes?),
        }
    }

    /// Waits for all parts that are being stored.
    async fn join_parts(&mut self) -> Result<(), Failure> {
        while !self.sending.is_empty() {
            self.join_part().await?;
        }
        Ok(())
    }

    /// Waits for the first of the parts that are being stored.
    async fn join_part(&mut self) -> Result<(), Failure> {
        let Some(sent) = self.sending.next().await else { return Ok(()) };
        if let Some(memory) = sent.memory {
            self.buffer.reuse(memory);
        }
        match sent.part {
            Ok(part) => self.state.parts.push(part),
            Err(error) => {
                // The acknowledged bytes are still in their segments. What arrived after them
                // would follow a gap.
                self.state.rest = sent.segments;
                self.sending.finish().await;
                self.buffer.take();
                return Err(self.engine.failed_put(&self.loaded, error).await);
            }
        }
        let uncommitted = self.state.offset().saturating_sub(self.loaded.state.offset());
        // Bytes whose checksum is not verified yet are not acknowledged.
        let is_due = uncommitted >= COMMIT_INTERVAL || self.committed_at.elapsed() >= COMMIT_PAUSE;
        if is_due && self.checksum.is_none() {
            self.commit().await?;
        }
        Ok(())
    }

    /// Stores the buffer as a segment, and gives its memory back.
    async fn store_segment(&mut self) -> Result<(), Failure> {
        // Only a gapless run of bytes is acknowledged.
        self.join_parts().await?;
        self.buffer.release_spare();
        let (bytes, reserved) = self.buffer.take();
        if bytes.is_empty() {
            return Ok(());
        }
        let segment = self.engine.states.save_segment(&self.loaded.id, bytes).await?;
        drop(reserved);
        self.unnamed.push(segment.clone());
        self.state.rest.push(segment);
        Ok(())
    }

    /// Commits the state, and then deletes the segments that it does not name.
    async fn commit(&mut self) -> Result<(), Failure> {
        let committed = self.engine.states.commit(&self.loaded, self.state.clone()).await;
        let committed = match committed {
            Err(failure @ (Failure::Superseded | Failure::Gone)) => {
                self.delete_unnamed().await;
                return Err(failure);
            }
            // After any other failure the commit may still take effect.
            committed => committed?,
        };
        let mut dropped = std::mem::take(&mut self.unnamed);
        dropped.append(&mut self.loaded.state.rest);
        dropped.retain(|segment| !committed.state.rest.contains(segment));
        self.engine.states.delete_segments(&committed.id, &dropped).await;
        self.state = committed.state.clone();
        self.loaded = committed;
        self.committed_at = Instant::now();
        Ok(())
    }

    /// Deletes the segments of this request, after another request has changed the upload.
    async fn delete_unnamed(&mut self) {
        let mut unnamed = std::mem::take(&mut self.unnamed);
        match self.engine.states.load(&self.loaded.id).await {
            Ok(None) => {}
            // That request may have continued from a commit whose response this one did not get.
            Ok(Some(now)) => unnamed.retain(|segment| !now.state.rest.contains(segment)),
            // The sweep removes them.
            Err(_) => return,
        }
        self.engine.states.delete_segments(&self.loaded.id, &unnamed).await;
    }

    /// Stores what was received, and completes the upload if that is all.
    pub(super) async fn end(mut self, received: Result<(), Failure>) -> Result<Loaded, Failure> {
        let received = received.and_then(|()| self.verify());
        let keeps_bytes = match &received {
            Ok(()) => true,
            // Bytes whose checksum is not verified are not acknowledged.
            Err(failure) => self.checksum.is_none() && failure.keeps_bytes(),
        };
        if !keeps_bytes {
            self.discard().await;
        } else if self.state.length == Some(self.offset()) {
            // Every byte is there, so the way in which the body ended does not matter.
            let engine = self.engine;
            return engine.settle(self.store_last_part().await?).await;
        } else {
            self.keep().await?;
        }
        received.map(|()| self.loaded)
    }

    /// Compares the checksum that the client sent with that of the body.
    fn verify(&mut self) -> Result<(), Failure> {
        match self.checksum.take().is_none_or(ExpectedChecksum::matches) {
            true => Ok(()),
            false => Err(Failure::WrongChecksum),
        }
    }

    /// Forgets what was received.
    async fn discard(&mut self) {
        self.sending.finish().await;
        self.engine.states.delete_segments(&self.loaded.id, &self.unnamed).await;
    }

    /// Commits the parts, and the bytes after them as segments.
    async fn keep(&mut self) -> Result<(), Failure> {
        let joined = self.join_parts().await;
        if self.buffer.len() > 0 && self.state.rest.len() >= MAX_SEGMENTS {
            let (bytes, _reserved) = self.take_part().await?;
            let segment = self.engine.states.save_segment(&self.loaded.id, bytes).await?;
            self.unnamed.push(segment.clone());
            self.state.rest.push(segment);
        } else {
            self.store_segment().await?;
        }
        if self.state != self.loaded.state {
            self.commit().await?;
        }
        joined
    }

    /// Stores the bytes after the parts as the last part.
    pub(super) async fn store_last_part(mut self) -> Result<Loaded, Failure> {
        let stored = self.put_last_part().await;
        // A refusal has already been committed.
        let keeps_bytes = stored.as_ref().err().is_none_or(Failure::keeps_bytes);
        if keeps_bytes && self.state != self.loaded.state {
            self.commit().await?;
        }
        stored.map(|()| self.loaded)
    }

    async fn put_last_part(&mut self) -> Result<(), Failure> {
        // An empty object has one empty part.
        if self.gathered() > 0 || (self.state.parts.is_empty() && self.sending.is_empty()) {
            self.store_part().await?;
        }
        self.join_parts().await
    }
}
