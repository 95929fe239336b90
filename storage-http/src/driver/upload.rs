//! [`Upload`]: the bytes of a save on their way to the server.
//!
//! A payload is checked on the way, and what its checks find may come after its last byte. Hence the last piece is held back
//! until the payload has ended well: a server never gets a complete body that is not what it should be.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt};
use storage_core::{Checksums, Error, Payload, PayloadStream, Result};
use tokio::time::Instant;

/// From this size on the checks of a payload in memory are left to a thread that may block.
const MUCH: usize = 256 * 1024;
/// The size of a piece: each that the connection takes is progress.
const PIECE: usize = 256 * 1024;

/// A payload that has been looked into, and can be sent.
pub(crate) struct Upload {
    /// How long the body is, if that is known before its end.
    pub(crate) size: Option<u64>,
    body: Body,
    state: State,
}

/// What the body shares with whoever waits for the answer.
#[derive(Clone)]
pub(crate) struct State(Arc<Mutex<Seen>>);

struct Seen {
    turn: Turn,
    bytes: u64,
    checksums: Checksums,
    /// Why the payload ended, if it did not end well.
    failure: Option<Error>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The payload's: nobody can send what is not there.
    Payload,
    /// The connection's, which has taken no further piece since then.
    Connection(Instant),
    /// The server's, to whom everything has been handed over.
    Server(Instant),
}

struct Body {
    pieces: VecDeque<Bytes>,
    /// What comes after the pieces; `None` if they are all.
    rest: Option<PayloadStream>,
    state: State,
}

impl Upload {
    /// Checks what is in memory; waits for the first piece of what is not, so that an empty body is known to be one.
    pub(crate) async fn begin(payload: Payload) -> Result<Self> {
        let state = State::new();
        let size = payload.size();
        let (pieces, rest, size) = match payload.into_memory() {
            Ok(memory) if memory.len() < MUCH => in_memory(memory.checked()?, &state),
            Ok(memory) => {
                let checked = tokio::task::spawn_blocking(|| memory.checked()).await;
                in_memory(checked.map_err(|join| Error::unexpected("hashing did not finish", join))??, &state)
            }
            Err(payload) => {
                let mut rest = payload.into_stream();
                match rest.try_next().await? {
                    Some(first) => (pieces_of(first), Some(rest), size),
                    None => in_memory((Bytes::new(), rest.checksums().cloned().unwrap_or_default()), &state),
                }
            }
        };
        Ok(Self { size, body: Body { pieces, rest, state: state.clone() }, state })
    }

    /// The body, and what becomes of it.
    pub(crate) fn into_body(self) -> (reqwest::Body, State) {
        let body = if self.size == Some(0) { reqwest::Body::from("") } else { reqwest::Body::wrap_stream(self.body) };
        (body, self.state)
    }
}

fn in_memory(
    (bytes, checksums): (Bytes, Checksums),
    state: &State,
) -> (VecDeque<Bytes>, Option<PayloadStream>, Option<u64>) {
    let size = bytes.len() as u64;
    state.seen().checksums = checksums;
    (pieces_of(bytes), None, Some(size))
}

fn pieces_of(mut bytes: Bytes) -> VecDeque<Bytes> {
    let mut pieces = VecDeque::with_capacity(bytes.len().div_ceil(PIECE));
    while !bytes.is_empty() {
        pieces.push_back(bytes.split_to(bytes.len().min(PIECE)));
    }
    pieces
}

impl State {
    fn new() -> Self {
        let turn = Turn::Connection(Instant::now());
        Self(Arc::new(Mutex::new(Seen { turn, bytes: 0, checksums: Checksums::new(), failure: None })))
    }

    // Nothing panics while the lock is held.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the payload ended early, if it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.seen().failure.take()
    }

    /// How many bytes were handed over, and the checksums of all of them.
    pub(crate) fn sent(&self) -> (u64, Checksums) {
        let seen = self.seen();
        (seen.bytes, seen.checksums.clone())
    }

    /// Ends when the connection has taken nothing for the one time, or the server has had everything for the other. Looks
    /// only when that could be so, hence needs no waking by the body.
    pub(crate) async fn stalled(&self, connection: Duration, server: Duration) {
        loop {
            let turn = self.seen().turn;
            let until = match turn {
                Turn::Payload => Instant::now() + connection,
                Turn::Connection(since) => since + connection,
                Turn::Server(since) => since + server,
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // One piece is held back as long as more may come.
        while this.pieces.len() < 2
            && let Some(rest) = &mut this.rest
        {
            let next = rest.poll_next_unpin(cx);
            if next.is_pending() {
                this.state.seen().turn = Turn::Payload;
            }
            match ready!(next) {
                Some(Ok(chunk)) => this.pieces.extend(pieces_of(chunk)),
                Some(Err(error)) => {
                    this.state.seen().failure = Some(error);
                    this.pieces.clear();
                    this.rest = None;
                    return Poll::Ready(Some(Err(std::io::Error::other("the payload failed"))));
                }
                None => {
                    this.state.seen().checksums = rest.checksums().cloned().unwrap_or_default();
                    this.rest = None;
                }
            }
        }
        let piece = this.pieces.pop_front();
        let mut seen = this.state.seen();
        seen.bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let is_last = this.pieces.is_empty() && this.rest.is_none();
        seen.turn = if is_last { Turn::Server(Instant::now()) } else { Turn::Connection(Instant::now()) };
        Poll::Ready(piece.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind};

    use super::*;

    fn streaming(chunks: &'static [&'static str]) -> Payload {
        Payload::from_stream(stream::iter(chunks.iter().map(|chunk| Ok::<_, Error>(Bytes::from(*chunk)))))
    }

    async fn all_of(upload: Upload) -> (Vec<Bytes>, bool, State) {
        let mut body = upload.body;
        let mut pieces = Vec::new();
        loop {
            match body.next().await {
                Some(Ok(piece)) => pieces.push(piece),
                Some(Err(_)) => return (pieces, false, upload.state),
                None => return (pieces, true, upload.state),
            }
        }
    }

    #[tokio::test]
    async fn the_last_piece_waits_for_the_checks() {
        let wrong = Checksum::of(ChecksumAlgorithm::Sha256, b"other");
        let payload = streaming(&["one", "two", "three"]).with_expected_checksum(wrong);
        let (pieces, is_whole, state) = all_of(Upload::begin(payload).await.unwrap()).await;
        assert_eq!((pieces, is_whole), (vec![Bytes::from("one"), Bytes::from("two")], false));
        assert_eq!(state.failure().unwrap().kind(), ErrorKind::Integrity);
    }

    #[tokio::test]
    async fn a_body_that_is_right_is_whole_and_has_its_checksums() {
        let payload = streaming(&["one", "", "two"]).with_computed_checksum(ChecksumAlgorithm::Md5);
        let upload = Upload::begin(payload).await.unwrap();
        assert_eq!(upload.size, None);
        let (pieces, is_whole, state) = all_of(upload).await;
        assert_eq!((pieces.concat(), is_whole), (b"onetwo".to_vec(), true));
        let expected = Checksum::of(ChecksumAlgorithm::Md5, b"onetwo");
        assert_eq!(state.sent(), (6, [expected].into_iter().collect()));
    }

    #[tokio::test]
    async fn a_large_chunk_is_sent_in_pieces() {
        let upload = Upload::begin(Payload::from_bytes(vec![7; 2 * PIECE + 1])).await.unwrap();
        assert_eq!(upload.size, Some(2 * PIECE as u64 + 1));
        let (pieces, is_whole, _) = all_of(upload).await;
        assert_eq!((pieces.iter().map(Bytes::len).collect::<Vec<_>>(), is_whole), (vec![PIECE, PIECE, 1], true));
    }

    #[tokio::test]
    async fn an_empty_stream_is_known_to_be_empty() {
        assert_eq!(Upload::begin(streaming(&[])).await.unwrap().size, Some(0));
        let not_empty = Checksum::of(ChecksumAlgorithm::Md5, b"x");
        let refused = Upload::begin(streaming(&[]).with_expected_checksum(not_empty)).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Integrity));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_connection_and_the_server_can_stall() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let waiting = stream::iter([Ok::<_, Error>(Bytes::from("a"))]).chain(stream::pending());
        let mut upload = Upload::begin(Payload::from_stream(waiting)).await.unwrap();
        let state = upload.state.clone();
        tokio::time::timeout(second * 2, state.stalled(second, minute)).await.unwrap();
        assert!(futures_util::poll!(upload.body.next()).is_pending());
        assert!(tokio::time::timeout(minute * 9, state.stalled(second, minute)).await.is_err(), "the payload stalls");
        state.seen().turn = Turn::Server(Instant::now());
        assert!(tokio::time::timeout(minute - second, state.stalled(second, minute)).await.is_err());
        tokio::time::timeout(second * 2, state.stalled(second, minute)).await.unwrap();
    }
}
