//! File work on the blocking pool.

use std::future::Future;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use storage_core::{Error, Result};
use tokio::task::{JoinError, JoinHandle};

use super::frame::Frame;
use super::record::Record;

/// The number of bytes of records that one task reads.
const READ_AT_ONCE: usize = 256 * 1024;

/// Starts blocking work. It runs to its end even if the handle is dropped.
pub(crate) fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> JoinHandle<Result<T>> {
    tokio::task::spawn_blocking(work)
}

/// Waits for blocking work.
pub(crate) async fn join<T>(
    task: impl Future<Output = std::result::Result<Result<T>, JoinError>>,
) -> Result<T> {
    let ended_early = |error| Error::unexpected("the work on a temporary file ended early", error);
    task.await.map_err(ended_early)?
}

/// Reads records on the blocking pool, many at a time. An error is the last item.
pub(crate) fn read_all<R: Record>(
    next: impl FnMut() -> Result<Option<Frame>> + Send + 'static,
) -> BoxStream<'static, Result<R>> {
    let batches = stream::try_unfold(Some(next), |next| async move {
        let Some(mut next) = next else { return Ok(None) };
        let (records, next) = join(spawn(move || {
            let mut records = Vec::new();
            let mut bytes = 0;
            while bytes < READ_AT_ONCE {
                let Some(frame) = next()? else { return Ok((records, None)) };
                bytes += frame.memory();
                records.push(Ok(R::decode(frame.key(), frame.value())?));
            }
            Ok((records, Some(next)))
        }))
        .await?;
        Ok(Some((stream::iter(records), next)))
    });
    let flat = batches.flat_map(|batch| match batch {
        Ok(records) => records.left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    });
    flat.boxed()
}
