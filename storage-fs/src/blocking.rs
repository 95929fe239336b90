//! Running blocking work, with the promise that what was given up does not happen behind the caller's back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use storage_core::{Error, ErrorKind, Result};

/// Tells blocking work whether its caller still waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    gone: Arc<AtomicBool>,
}

impl Waiting {
    /// To be called right before the step that makes a change visible.
    pub(crate) fn check(&self) -> Result<()> {
        if self.gone.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Unexpected, "the caller gave up"));
        }
        Ok(())
    }
}

struct Caller(Waiting);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
    }
}

/// Runs work on the blocking pool. When the future is dropped, the work runs on, but its [`Waiting`] knows.
pub(crate) async fn run<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&Waiting) -> Result<T> + Send + 'static,
{
    let waiting = Waiting::default();
    let _caller = Caller(waiting.clone());
    let done = tokio::task::spawn_blocking(move || work(&waiting)).await;
    done.unwrap_or_else(|join| {
        Err(Error::unexpected("the work was interrupted: the runtime is shutting down", join))
    })
}
