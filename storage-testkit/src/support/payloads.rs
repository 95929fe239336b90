//! Payloads that stream, stall or fail.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Payload, Result};
use tokio::sync::Notify;

/// What a failing payload says; a save has to pass it on unchanged.
pub(crate) const SOURCE_FAILED: &str = "the source of the bytes failed, as the case wanted";

/// The bytes in chunks, of unknown size, with a pause before each so that the tasks of a race
/// mingle.
pub(crate) fn streaming(mut bytes: Bytes, chunk: usize) -> Payload {
    let next = move || (!bytes.is_empty()).then(|| Ok(bytes.split_to(chunk.min(bytes.len()))));
    Payload::from_stream(paused(std::iter::from_fn(next)))
}

/// The chunks, then an error.
pub(crate) fn failing(chunks: Vec<Bytes>) -> Payload {
    let error = Error::new(ErrorKind::Unexpected, SOURCE_FAILED);
    Payload::from_stream(paused(chunks.into_iter().map(Ok).chain([Err(error)])))
}

/// The chunks, then nothing for ever. The second value is notified once the save waits in vain.
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
