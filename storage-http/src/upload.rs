//! [`Upload`]: the body of a PUT.
//!
//! A payload is checked while it is sent, and a check may fail after its last byte. Therefore the
//! last piece is held back until the payload has ended without an error, so that a server never
//! receives a complete body that is wrong.
//!
//! The pieces of the first 4 MiB are kept, because a server that lacks a directory responds early.
//! The request is then repeated with the same bytes, even if the payload is a stream that cannot be
//! read again.

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

/// Payloads in memory of at least this many bytes are checked on a blocking thread.
const OFFLOAD_THRESHOLD: usize = 256 * 1024;
/// The size of a piece in bytes (256 KiB). Progress is measured in pieces.
const PIECE: usize = 256 * 1024;
/// How many bytes of a stream are kept to be sent again.
const MAX_KEPT: usize = 4 * 1024 * 1024;

/// A payload whose first bytes have been read, and which can be sent.
pub(crate) struct Upload {
    /// The length of the body in bytes, if it is known before its end.
    pub(crate) size: Option<u64>,
    state: State,
}

/// The state of a body, shared with the task that waits for the response.
#[derive(Clone)]
pub(crate) struct State(Arc<Mutex<Progress>>);

struct Progress {
    /// `None` after the payload failed, or another body has taken it over.
    source: Option<Source>,
    turn: Turn,
    bytes: u64,
    checksums: Checksums,
    /// The error with which the payload ended.
    failure: Option<Error>,
}

/// The bytes of a payload.
struct Source {
    pieces: VecDeque<Bytes>,
    /// The stream after the pieces, until it has ended.
    rest: Option<PayloadStream>,
    /// All pieces that were sent, or `None` if they are too many.
    sent: Option<Vec<Bytes>>,
}

/// Which side must act next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The payload must produce bytes.
    Payload,
    /// The connection must accept a piece, and has accepted none since this moment.
    Connection(Instant),
    /// The server must respond. The connection accepted the last piece at this moment.
    Server(Instant),
}

/// The body of a request.
struct Body(State);

impl Upload {
    /// Checks a payload in memory. Reads the first chunk of any other payload, so that an empty
    /// body has the length zero.
    pub(crate) async fn begin(payload: Payload) -> Result<Self> {
        let size = payload.size();
        let memory = match payload.into_memory() {
            Ok(memory) if memory.len() < OFFLOAD_THRESHOLD => memory.checked()?,
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
        let progress = Progress { source: Some(source), turn, bytes: 0, checksums, failure: None };
        Self { size, state: State(Arc::new(Mutex::new(progress))) }
    }

    /// Returns the body for one request.
    pub(crate) fn body(&self) -> reqwest::Body {
        match self.size {
            Some(0) => reqwest::Body::from(""),
            _ => reqwest::Body::wrap_stream(Body(self.state.clone())),
        }
    }

    /// Returns the state of the body.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Returns the same bytes for another request, or `None` if not all of them were kept.
    pub(crate) fn repeat(self) -> Option<Self> {
        let mut progress = self.state.progress();
        let Source { pieces, rest, sent } = progress.source.take()?;
        let pieces = sent?.into_iter().chain(pieces).collect();
        Some(Self::new(self.size, pieces, rest, progress.checksums.clone()))
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
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error with which the payload ended.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.progress().failure.take()
    }

    /// Returns how many bytes the connection accepted, and their checksums.
    pub(crate) fn sent(&self) -> (u64, Checksums) {
        let progress = self.progress();
        (progress.bytes, progress.checksums.clone())
    }

    /// Returns when the connection has accepted no piece for the time `connection`, or the server
    /// has not responded for the time `server`. Wakes only when one of these times may have passed.
    pub(crate) async fn stalled(&self, connection: Duration, server: Duration) {
        loop {
            let turn = self.progress().turn;
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

impl Progress {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, std::io::Error>>> {
        let failed = |reason| Poll::Ready(Some(Err(std::io::Error::other(reason))));
        let Some(source) = &mut self.source else {
            return failed("another request sends the body");
        };
        // One piece is held back until the payload has ended.
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
            source.keep(piece, self.bytes);
        }
        let is_last = source.pieces.is_empty() && source.rest.is_none();
        self.turn =
            if is_last { Turn::Server(Instant::now()) } else { Turn::Connection(Instant::now()) };
        Poll::Ready(piece.map(Ok))
    }
}

impl Source {
    fn keep(&mut self, piece: &Bytes, sent: u64) {
        match &mut self.sent {
            Some(kept) if sent <= MAX_KEPT as u64 => kept.push(piece.clone()),
            _ => self.sent = None,
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.progress().poll_piece(cx)
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
    async fn the_last_piece_is_sent_only_after_the_checks() {
        let wrong = Checksum::of(ChecksumAlgorithm::Sha256, b"other");
        let payload = streaming(&["one", "two", "three"]).with_expected_checksum(wrong);
        let (pieces, is_whole, state) = all_of(Upload::begin(payload).await.unwrap()).await;
        assert_eq!((pieces, is_whole), (vec![Bytes::from("one"), Bytes::from("two")], false));
        assert_eq!(state.failure().unwrap().kind(), ErrorKind::Integrity);
    }

    #[tokio::test]
    async fn a_correct_body_is_sent_whole_and_has_checksums() {
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
        let again = upload.repeat().unwrap();
        assert!(first.next().await.unwrap().is_err(), "only one request has the body");
        let (pieces, is_whole) = read(&again).await;
        assert_eq!((pieces.concat(), is_whole), (b"onetwothree".to_vec(), true));
        assert_eq!(again.state.sent().0, 11);
        assert_eq!(read(&again.repeat().unwrap()).await.0.concat(), b"onetwothree");
    }

    #[tokio::test]
    async fn at_most_4_mib_of_a_stream_are_kept() {
        let chunks = stream::iter(vec![
            Ok::<_, Error>(Bytes::from(vec![0; MAX_KEPT])),
            Ok(Bytes::from("x")),
        ]);
        let upload = Upload::begin(Payload::from_stream(chunks)).await.unwrap();
        let mut body = Body(upload.state.clone());
        let mut read = 0;
        while read < MAX_KEPT {
            read += body.next().await.unwrap().unwrap().len();
        }
        assert!(upload.state.progress().source.as_ref().unwrap().sent.is_some());
        body.next().await.unwrap().unwrap();
        assert!(upload.repeat().is_none());
    }

    #[tokio::test]
    async fn an_empty_stream_has_the_length_zero() {
        assert_eq!(Upload::begin(streaming(&[])).await.unwrap().size, Some(0));
        let not_empty = Checksum::of(ChecksumAlgorithm::Md5, b"x");
        let refused = Upload::begin(streaming(&[]).with_expected_checksum(not_empty)).await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Integrity));
    }

    #[tokio::test(start_paused = true)]
    async fn a_payload_that_stalls_is_not_a_stalled_upload() {
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
            "only the payload stalls"
        );
        state.progress().turn = Turn::Server(Instant::now());
        assert!(
            tokio::time::timeout(minute - second, state.stalled(second, minute)).await.is_err()
        );
        tokio::time::timeout(second * 2, state.stalled(second, minute)).await.unwrap();
    }
}
