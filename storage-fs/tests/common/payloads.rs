//! Payloads that a test feeds chunk by chunk.

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Error, ErrorKind, Payload, Result};
use tokio::sync::mpsc;

/// The sending end of a payload. Dropping it ends the stream.
pub(crate) struct Feed(mpsc::Sender<Result<Bytes>>);

/// Returns a payload of unknown size and its sending end.
pub(crate) fn fed() -> (Feed, Payload) {
    let (feed, chunks) = mpsc::channel(1);
    let chunks = stream::unfold(chunks, |mut chunks: mpsc::Receiver<Result<Bytes>>| async move {
        Some((chunks.recv().await?, chunks))
    });
    (Feed(feed), Payload::from_stream(chunks))
}

impl Feed {
    /// Sends a chunk as soon as the one before has been received.
    pub(crate) async fn send(&self, chunk: impl Into<Bytes>) {
        self.0.send(Ok(chunk.into())).await.unwrap();
    }

    /// Sends chunks until at least this many bytes have been received.
    pub(crate) async fn send_at_least(&self, bytes: usize) {
        for _ in 0..bytes.div_ceil(64 * 1024) + 2 {
            self.send(vec![b'x'; 64 * 1024]).await;
        }
    }

    /// Fails the stream.
    pub(crate) async fn fail(self) {
        let _ = self.0.send(Err(Error::new(ErrorKind::Unexpected, "the source failed"))).await;
    }
}

/// Returns a payload that streams the bytes in chunks, so that the driver does not see them in
/// memory.
pub(crate) fn streaming(bytes: impl Into<Bytes>, chunk: usize) -> Payload {
    let bytes = bytes.into();
    let len = bytes.len();
    let chunks =
        (0..len).step_by(chunk).map(move |at| Ok::<_, Error>(bytes.slice(at..len.min(at + chunk))));
    Payload::from_stream(stream::iter(chunks))
}

/// Returns `len` bytes that differ for each seed, with a period that divides no buffer size.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let period: Vec<u8> =
        (0..251u64).map(|at| (at.wrapping_mul(7).wrapping_add(seed * 13) % 256) as u8).collect();
    let mut bytes = period.repeat(len / period.len() + 1);
    bytes.truncate(len);
    bytes
}
