//! File work on the blocking pool.

use std::future::Future;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use storage_core::{Error, Result};
use tokio::task::{JoinError, JoinHandle};

/// The number of bytes of items that one task reads.
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

/// Reads items on the blocking pool, many at a time. `next` returns an item and about how many
/// bytes it has. An error is the last item.
pub(crate) fn read_all<T: Send + 'static>(
    next: impl FnMut() -> Result<Option<(T, usize)>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let batches = stream::try_unfold(Some(next), |next| async move {
        let Some(next) = next else { return Ok(None) };
        join(spawn(move || Ok(read_batch(next)))).await.map(Some)
    });
    let flat = batches.flat_map(|batch| match batch {
        Ok(items) => stream::iter(items).left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    });
    flat.boxed()
}

/// Returns the next items, and the reader unless it has ended. An error comes after the items
/// before it.
fn read_batch<T, F>(mut next: F) -> (Vec<Result<T>>, Option<F>)
where
    F: FnMut() -> Result<Option<(T, usize)>>,
{
    let mut items = Vec::new();
    let mut bytes = 0;
    while bytes < READ_AT_ONCE {
        match next() {
            Ok(Some((item, size))) => {
                // An item without a size needs time and memory too.
                bytes += size.max(16);
                items.push(Ok(item));
            }
            Ok(None) => return (items, None),
            Err(error) => {
                items.push(Err(error));
                return (items, None);
            }
        }
    }
    (items, Some(next))
}
