//! Runs blocking work on Tokio's blocking pool. Work whose future was dropped stops before its next
//! visible step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use storage_core::internal::run_blocking;
use storage_core::{Error, ErrorKind, Result};

/// Whether the caller of blocking work still waits for its result.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallerAlive {
    is_gone: Arc<AtomicBool>,
}

impl CallerAlive {
    /// Returns a caller that counts as gone when the second value is dropped.
    pub(crate) fn until_dropped() -> (Self, SetGoneOnDrop) {
        let caller = Self::default();
        (caller.clone(), SetGoneOnDrop(caller))
    }

    /// Fails if the caller has dropped its future. Must be called right before a step that makes a
    /// change visible.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_gone.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "the caller dropped the future of this operation",
            ));
        }
        Ok(())
    }
}

/// Sets the flag when the caller's future is dropped.
pub(crate) struct SetGoneOnDrop(CallerAlive);

impl Drop for SetGoneOnDrop {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
    }
}

/// Runs work on the blocking pool.
///
/// If the future is dropped, the work continues, but its [`CallerAlive`] check fails from then on.
pub(crate) async fn run<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&CallerAlive) -> Result<T> + Send + 'static,
{
    let (caller, _guard) = CallerAlive::until_dropped();
    run_blocking(move || work(&caller)).await
}
