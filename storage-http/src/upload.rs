//! [`Upload`]: the bytes of a save on their way to the server.
//!
//! A payload is checked on the way, and what its checks find may come after its last byte. Hence
//! the last piece is held back until the payload has ended well: a server never gets a complete
//! body that is not what it should be.
//!
//! The first pieces are remembered, since a server that misses a directory says so before it has
//! read much, or of small bodies: then a stream can be sent again that could not be read again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
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
/// How much of a stream is remembered.
const REMEMBERED: usize = 4 * 1024 * 1024;

/// A payload that has been looked into, and can be sent.
pub(crate) struct Upload {
    /// How long the body is, if that is known before its end.
    pub(crate) size: Option<u64>,
    state: State,
}

/// What the body shares with whoever waits for the answer.
#[derive(Clone)]
pub(crate) struct State(Arc<Mutex<Sending>>);

struct Sending {
    /// `None` once it has been taken away from this body.
    source: Option<Source>,
    turn: Turn,
    bytes: u64,
    checksums: Checksums,
    /// Why the payload ended, if it did not end well.
    failure: Option<Error>,
}

/// Where the bytes come from.
struct Source {
    pieces: VecDeque<Bytes>,
    /// What comes after the pieces; `None` if they are all.
    rest: Option<PayloadStream>,
    /// All pieces that were sent; `None` once they are too much.
    sent: Option<Vec<Bytes>>,
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

/// The body of a request.
struct Body(State);

impl Upload {
    /// Checks what is in memory; waits for the first piece of what is not, so that an empty body is
    /// known to be one.
    pub(crate) async fn begin(payload: Payload) -> Result<Self> {
        let size = payload.size();
        let memory = match payload.into_memory() {
            Ok(memory) if memory.len() < MUCH => memory.checked()?,
            Ok(memory) => {
                let checked = tokio::task::spawn_blocking(|| memory.checked()).await;
                checked.map_err(|join| Error::unexpected("hashing did not finish", join))??
            }
            Err(payload) => {
                let mut rest = payload.into_stream();
                match rest.try_next().await? {
                    Some(first) => {
                        return Ok(Self::new(size, pieces_of(first), Some(rest), Checksums::new()));
                    }
                    None => (Bytes::new(), rest.checksums().cloned().unwrap_or_default()),
                }
            }
        };
        let (bytes, checksums) = memory;
        Ok(Self::new(Some(bytes.len() as u64), pieces_of(bytes), None, checksums))
    }

    fn new(
        size: Option<u64>,
        pieces: VecDeque<Bytes>,
        rest: Option<PayloadStream>,
        checksums: Checksums,
    ) -> Self {
        let source = Source { pieces, rest, sent: Some(Vec::new()) };
        let turn = Turn::Connection(Instant::now());
        let sending = Sending { source: Some(source), turn, bytes: 0, checksums, failure: None };
        Self { size, state: State(Arc::new(Mutex::new(sending))) }
    }

    /// The body, for one request.
    pub(crate) fn body(&self) -> reqwest::Body {
        match self.size {
            Some(0) => reqwest::Body::from(""),
            _ => reqwest::Body::wrap_stream(Body(self.state.clone())),
        }
    }

    /// What becomes of it.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The same bytes once more, from the first one, for another request; `None` if they are not at
    /// hand any more.
    pub(crate) fn again(self) -> Option<Self> {
        let mut sending = self.state.sending();
        let Source { pieces, rest, sent } = sending.source.take()?;
        let pieces = sent?.into_iter().chain(pieces).collect();
        Some(Self::new(self.size, pieces, rest, sending.checksums.clone()))
    }
}

fn pieces_of(mut bytes: Bytes) -> VecDeque<Bytes> {
    let mut pieces = VecDeque::with_capacity(bytes.len().div_ceil(PIECE));
    while !bytes.is_empty() {
        pieces.push_back(bytes.split_to(bytes.len().min(PIECE)));
    }
    pieces
}

impl State {
    // Nothing panics while the lock is held.
    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the payload ended early, if it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.sending().failure.take()
    }

    /// How many bytes were handed over, and the checksums of all of them.
    pub(crate) fn sent(&self) -> (u64, Checksums) {
        let sending = self.sending();
        (sending.bytes, sending.checksums.clone())
    }

    /// Ends when the connection has taken nothing for the one time, or the server has had
    /// everything for the other. Looks only when that could be so, hence needs no waking by the
    /// body.
    pub(crate) async fn stalled(&self, connection: Duration, server: Duration) {
        loop {
            let turn = self.sending().turn;
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

impl Sending {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, std::io::Error>>> {
        let failed = |why| Poll::Ready(Some(Err(std::io::Error::other(why))));
        let Some(source) = &mut self.source else { return failed("the body is sent elsewhere") };
        // One piece is held back as long as more may come.
        while source.pieces.len() < 2
            && let Some(rest) = &mut source.rest
        {
            match rest.poll_next_unpin(cx) {
                Poll::Pending => {
                    self.turn = Turn::Payload;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(chunk))) => source.pieces.extend(pieces_of(chunk)),
                Poll::Ready(Some(Err(error))) => {
                    self.failure = Some(error);
                    self.source = None;
                    return failed("the payload failed");
                }
                Poll::Ready(None) => {
                    self.checksums = rest.checksums().cloned().unwrap_or_default();
                    source.rest = None;
                }
            }
        }
        let piece = source.pieces.pop_front();
        if let Some(piece) = &piece {
            self.bytes += piece.len() as u64;
            source.remember(piece, self.bytes);
        }
        let is_last = source.pieces.is_empty() && source.rest.is_none();
        self.turn =
            if is_last { Turn::Server(Instant::now()) } else { Turn::Connection(Instant::now()) };
        Poll::Ready(piece.map(Ok))
    }
}

impl Source {
    fn remember(&mut self, piece: &Bytes, sent: u64) {
        match &mut self.sent {
            Some(remembered) if sent <= REMEMBERED as u64 => remembered.push(piece.clone()),
            _ => self.sent = None,
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.sending().poll_piece(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use storage_core::{Checksum, ChecksumAlgorithm, ErrorKind};

    use super::*;

    fn streaming(chunks: &'static [&'static str]) -> Payload {
        Payload::from_stream(stream::iter(
            chunks.iter().map(|chunk| Ok::<_, Error>(Bytes::from(*chunk))),
        ))
    }

    async fn all_of(upload: Upload) -> (Vec<Bytes>, bool, State) {
        let (pieces, is_whole) = read(&upload).await;
        (pieces, is_whole, upload.state)
    }

    async fn read(upload: &Upload) -> (Vec<Bytes>, bool) {
        let mut body = Body(upload.state.clone());
        let mut pieces = Vec::new();
        loop {
            match body.next().await {
                Some(Ok(piece)) => pieces.push(piece),
                Some(Err(_)) => return (pieces, false),
                None => return (pieces, true),
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
        assert_eq!(
            (pieces.iter().map(Bytes::len).collect::<Vec<_>>(), is_whole),
            (vec![PIECE, PIECE, 1], true)
        );
    }

    #[tokio::test]
    async fn the_beginning_of_a_stream_can_be_sent_again() {
        let upload = Upload::begin(streaming(&["one", "two", "three"])).await.unwrap();
        let mut first = Body(upload.state.clone());
        assert_eq!(first.next().await.unwrap().unwrap(), "one");
        let again = upload.again().unwrap();
        assert!(first.next().await.unwrap().is_err(), "two requests have the body");
        let (pieces, is_whole) = read(&again).await;
        assert_eq!((pieces.concat(), is_whole), (b"onetwothree".to_vec(), true));
        assert_eq!(again.state.sent().0, 11);
        assert_eq!(read(&again.again().unwrap()).await.0.concat(), b"onetwothree");
    }

    #[tokio::test]
    async fn no_more_than_a_little_is_remembered() {
        let chunks = stream::iter(vec![
            Ok::<_, Error>(Bytes::from(vec![0; REMEMBERED])),
            Ok(Bytes::from("x")),
        ]);
        let upload = Upload::begin(Payload::from_stream(chunks)).await.unwrap();
        let mut body = Body(upload.state.clone());
        let mut read = 0;
        while read < REMEMBERED {
            read += body.next().await.unwrap().unwrap().len();
        }
        assert!(upload.state.sending().source.as_ref().unwrap().sent.is_some());
        body.next().await.unwrap().unwrap();
        assert!(upload.again().is_none());
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
        let upload = Upload::begin(Payload::from_stream(waiting)).await.unwrap();
        let (state, mut body) = (upload.state.clone(), Body(upload.state));
        tokio::time::timeout(second * 2, state.stalled(second, minute)).await.unwrap();
        assert!(
            std::future::poll_fn(|cx| Poll::Ready(body.poll_next_unpin(cx).is_pending())).await
        );
        assert!(
            tokio::time::timeout(minute * 9, state.stalled(second, minute)).await.is_err(),
            "the payload stalls"
        );
        state.sending().turn = Turn::Server(Instant::now());
        assert!(
            tokio::time::timeout(minute - second, state.stalled(second, minute)).await.is_err()
        );
        tokio::time::timeout(second * 2, state.stalled(second, minute)).await.unwrap();
    }
}
