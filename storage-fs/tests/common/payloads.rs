//! Payloads that a test feeds by hand.

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Error, ErrorKind, Payload, Result};
use tokio::sync::mpsc;

/// The other end of a payload: sends chunks; dropped, it ends the stream.
pub(crate) struct Feed(mpsc::Sender<Result<Bytes>>);

/// A payload of unknown size that yields what it is fed.
pub(crate) fn fed() -> (Feed, Payload) {
    let (feed, chunks) = mpsc::channel(1);
    let chunks = stream::unfold(chunks, |mut chunks: mpsc::Receiver<Result<Bytes>>| async move {
        Some((chunks.recv().await?, chunks))
    });
    (Feed(feed), Payload::from_stream(chunks))
}

impl Feed {
    /// Hands on a chunk, as soon as the one before has been taken.
    pub(crate) async fn send(&self, chunk: impl Into<Bytes>) {
        self.0.send(Ok(chunk.into())).await.unwrap();
    }

    /// Hands on chunks until at least this much has been taken.
    pub(crate) async fn send_much(&self, bytes: usize) {
        for _ in 0..bytes.div_ceil(64 * 1024) + 2 {
            self.send(vec![b'x'; 64 * 1024]).await;
        }
    }

    /// Breaks the stream off.
    pub(crate) async fn fail(self) {
        let _ = self.0.send(Err(Error::new(ErrorKind::Unexpected, "the source failed"))).await;
    }
}

/// A payload that streams the bytes in chunks, so that a driver cannot take it as it is.
pub(crate) fn streaming(bytes: impl Into<Bytes>, chunk: usize) -> Payload {
    let bytes = bytes.into();
    let len = bytes.len();
    let chunks =
        (0..len).step_by(chunk).map(move |at| Ok::<_, Error>(bytes.slice(at..len.min(at + chunk))));
    Payload::from_stream(stream::iter(chunks))
}

/// `len` bytes with a period that no buffer size divides, other ones for each seed.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let period: Vec<u8> =
        (0..251u64).map(|at| (at.wrapping_mul(7).wrapping_add(seed * 13) % 256) as u8).collect();
    let mut bytes = period.repeat(len / period.len() + 1);
    bytes.truncate(len);
    bytes
}
