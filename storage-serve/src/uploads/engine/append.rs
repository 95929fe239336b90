//! Appending the body of a request to an upload.

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tokio::time::{Duration, Instant};

use super::checksum::ExpectedChecksum;
use super::gather::Gather;
use super::state::{Concat, State, Status};
use super::store::Loaded;
use super::turns::Turn;
use super::{Engine, Failure};
use crate::request_body::BoxError;

/// How often a request that receives nothing checks whether others need its memory.
const PAUSE: Duration = Duration::from_secs(2);

/// A request to append bytes.
pub(in crate::uploads) struct Append {
    pub(in crate::uploads) id: String,
    /// Where the bytes begin, as the client knows it.
    pub(in crate::uploads) offset: u64,
    pub(in crate::uploads) end: End,
    /// The number of bytes in the body, if the request declares it.
    pub(in crate::uploads) body_size: Option<u64>,
    /// The checksum of the body. If it differs, no byte of the body is kept.
    pub(in crate::uploads) checksum: Option<ExpectedChecksum>,
    pub(in crate::uploads) body: BoxStream<'static, Result<Bytes, BoxError>>,
}

/// How an upload ends. Contains the size of the whole object, if the request declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::uploads) enum End {
    /// When the upload has its size.
    AtLength(Option<u64>),
    /// With the end of this body.
    WithBody(Option<u64>),
    /// With the body of a later request, even if the upload has its size.
    Later(Option<u64>),
}

impl Engine {
    /// Appends a body. Returns the upload with its new offset. It is completed if the body contains
    /// its last bytes. After a failure of the body, what arrived is stored.
    ///
    /// Runs in a task of its own, because a server may drop the future of a request whose client
    /// disconnects, and what arrived must be stored.
    pub(in crate::uploads) async fn append(&self, request: Append) -> Result<Loaded, Failure> {
        self.detached(move |engine| async move { engine.append_in_turn(request).await }).await
    }

    async fn append_in_turn(&self, request: Append) -> Result<Loaded, Failure> {
        let turn = self.turns.take(&request.id).await?;
        let loaded = self.load(&request.id).await?;
        let mut state = loaded.state.clone();
        check_status(&state)?;
        if state.is_done() && !matches!(request.end, End::AtLength(_)) {
            return Err(Failure::Completed);
        }
        if state.offset() != request.offset {
            return Err(Failure::WrongOffset(state.offset()));
        }
        let end = request.body_size.map(|size| request.offset.saturating_add(size));
        match request.end {
            End::AtLength(length) => declare_length(&mut state, length)?,
            End::WithBody(length) | End::Later(length) => announce_length(&mut state, length)?,
        }
        if let Some(end) = end {
            state.check_end(end)?;
        }
        if loaded.state.status != Status::Open || loaded.state.has_all_parts() {
            return self.settle(loaded).await;
        }
        let mut gather = Gather::new(self, loaded, state, request.body_size, request.checksum);
        let mut received = receive(self, &mut gather, &turn, request.body).await;
        if matches!(request.end, End::WithBody(_)) {
            received = end_with_body(&mut gather, received);
        }
        gather.end(received).await
    }
}

/// Ends the upload if the body has ended, or if every byte is there, so that the way in which the
/// body ended does not matter.
fn end_with_body(gather: &mut Gather<'_>, received: Result<(), Failure>) -> Result<(), Failure> {
    let end = gather.offset();
    let length = gather.state.known_length();
    match &received {
        Err(failure) if !failure.keeps_bytes() || length != Some(end) => received,
        // The body is shorter than its length, which servers recognise in most cases.
        Ok(()) if length.is_some_and(|length| length != end) => Err(Failure::WrongLength),
        _ => {
            gather.state.length = Some(end);
            received
        }
    }
}

/// Fails unless the upload accepts bytes, or has all of them.
fn check_status(state: &State) -> Result<(), Failure> {
    match &state.status {
        // Its own request appends before that.
        Status::Done if matches!(state.concat, Some(Concat::Final(_))) => Err(Failure::Final),
        Status::Lost => Err(Failure::Gone),
        Status::Refused { status, text } => Err(Failure::refused(*status, text.clone())),
        _ => Ok(()),
    }
}

/// Records the length of an upload that does not end by having it.
fn announce_length(state: &mut State, length: Option<u64>) -> Result<(), Failure> {
    let Some(length) = length else { return Ok(()) };
    if state.known_length().is_some_and(|known| known != length) || length < state.offset() {
        return Err(Failure::WrongLength);
    }
    if state.max_size.is_some_and(|max| length > max) {
        return Err(Failure::TooLarge);
    }
    state.announced = Some(length);
    Ok(())
}

/// Sets the length of an upload that was begun without one.
fn declare_length(state: &mut State, length: Option<u64>) -> Result<(), Failure> {
    let Some(length) = length else { return Ok(()) };
    if state.length.is_some_and(|known| known != length) || length < state.offset() {
        return Err(Failure::WrongLength);
    }
    if state.max_size.is_some_and(|max| length > max) {
        return Err(Failure::TooLarge);
    }
    state.length = Some(length);
    Ok(())
}

/// Reads the body to its end, until a newer request wants the upload, or until no data arrives.
async fn receive(
    engine: &Engine,
    gather: &mut Gather<'_>,
    turn: &Turn,
    mut body: BoxStream<'static, Result<Bytes, BoxError>>,
) -> Result<(), Failure> {
    let mut last_data = Instant::now();
    loop {
        let wait = PAUSE.min(engine.idle_timeout);
        let chunk = tokio::select! {
            biased;
            () = turn.superseded() => return Err(Failure::Superseded),
            chunk = tokio::time::timeout(wait, body.next()) => chunk,
        };
        match chunk {
            Err(_) if last_data.elapsed() >= engine.idle_timeout => return Err(Failure::Stalled),
            Err(_) => {}
            Ok(None) => return Ok(()),
            Ok(Some(Err(cause))) => {
                tracing::debug!(%cause, "the body of an upload broke off");
                return Err(Failure::BrokeOff);
            }
            Ok(Some(Ok(chunk))) => {
                gather.push(chunk).await?;
                last_data = Instant::now();
            }
        }
        gather.yield_room().await?;
    }
}
