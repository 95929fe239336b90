//! Runs work that waits for the disk on other threads than those that serve.

use storage_core::{Error, Result};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// Runs work on a thread that may block. Dropping the future does not stop the work.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(join) => Err(Error::unexpected("a task of the cache failed", join)),
    }
}

/// Drops a value, whose drop waits for the disk, on a thread that may block. A runtime that is
/// shutting down drops it without a thread. Without a runtime, this thread drops it.
pub(crate) fn drop_off_thread(value: impl Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(value))),
        Err(_) => drop(value),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use super::*;

    /// Sends the id of the thread that drops it.
    struct Dropped(mpsc::Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    #[tokio::test]
    async fn a_value_is_dropped_in_another_thread_than_the_one_that_serves() {
        let (sender, dropped) = mpsc::channel();
        drop_off_thread(Dropped(sender));
        assert_ne!(dropped.recv_timeout(Duration::from_secs(60)).unwrap(), thread::current().id());
    }

    #[test]
    fn a_value_is_dropped_after_the_runtime_has_ended() {
        let (sender, dropped) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        {
            let _entered = handle.enter();
            drop_off_thread(Dropped(sender.clone()));
        }
        dropped.recv_timeout(Duration::from_secs(60)).unwrap();
        drop_off_thread(Dropped(sender));
        assert_eq!(dropped.recv_timeout(Duration::from_secs(60)).unwrap(), thread::current().id());
    }
}
