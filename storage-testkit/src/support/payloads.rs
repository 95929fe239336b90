//! Payloads that stream, stall or fail.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Payload, Result};
use tokio::sync::Notify;

/// The error message of a failing payload. A save must return it unchanged.
pub(crate) const SOURCE_FAILED: &str = "the source of the bytes failed, as planned by the case";

/// Returns the bytes as a stream of unknown size. It yields to other tasks before each chunk.
pub(crate) fn streaming(mut bytes: Bytes, chunk: usize) -> Payload {
    let next = move || (!bytes.is_empty()).then(|| Ok(bytes.split_to(chunk.min(bytes.len()))));
    Payload::from_stream(paused(std::iter::from_fn(next)))
}

/// Returns the chunks, followed by an error.
pub(crate) fn failing(chunks: Vec<Bytes>) -> Payload {
    let error = Error::new(ErrorKind::Unexpected, SOURCE_FAILED);
    Payload::from_stream(paused(chunks.into_iter().map(Ok).chain([Err(error)])))
}

/// Returns the chunks without an end. The second value is notified when the save waits for more.
pub(crate) fn stalling(chunks: Vec<Bytes>) -> (Payload, Arc<Notify>) {
    let waiting = Arc::new(Notify::new());
    let notify = Arc::clone(&waiting);
    let stall = stream::poll_fn(move |_| {
        notify.notify_one();
        Poll::<Option<Result<Bytes>>>::Pending
    });
    (Payload::from_stream(stream::iter(chunks.into_iter().map(Ok)).chain(stall)), waiting)
}

pub(crate) fn chunks_of(bytes: &Bytes, chunk: usize) -> Vec<Bytes> {
    (0..bytes.len()).step_by(chunk).map(|at| bytes.slice(at..bytes.len().min(at + chunk))).collect()
}

fn paused<I>(items: I) -> impl futures_core::Stream<Item = Result<Bytes>> + Send + 'static
where
    I: Iterator<Item = Result<Bytes>> + Send + 'static,
{
    stream::iter(items).then(|item| async {
        tokio::task::yield_now().await;
        item
    })
}
