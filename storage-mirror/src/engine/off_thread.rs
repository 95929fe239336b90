//! Work that waits for the disk, away from the threads that serve.

use storage_core::{Error, Result};
use tokio::task::spawn_blocking;

/// Runs work where waiting is allowed. When the future is dropped, the work goes on.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(join) => Err(Error::unexpected("the cache failed", join)),
    }
}
