//! [`Runtime`]: runs the futures of synchronous code.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::coop::poll_proceed;

use crate::error::{Error, Result};

/// A runtime of its own, or that of the application. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    handle: Handle,
    /// `None` for a runtime of the application.
    _thread: Option<Arc<StopOnDrop>>,
}

/// Ends the thread of a runtime.
#[derive(Debug)]
struct StopOnDrop {
    // The thread ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl Runtime {
    /// Returns the runtime of this thread, or starts one on a thread of its own.
    pub(super) fn new() -> Result<Self> {
        match Handle::try_current() {
            Ok(handle) => Ok(Self { handle, _thread: None }),
            Err(_) => Self::start(),
        }
    }

    fn start() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // Completes with an error when the sender is dropped.
            let _ = runtime.block_on(stopped);
        };
        let name = "storage-blocking".to_owned();
        std::thread::Builder::new().name(name).spawn(run).map_err(cannot_start)?;
        Ok(Self { handle, _thread: Some(Arc::new(StopOnDrop { _stop: stop })) })
    }

    /// Runs a future to its end.
    ///
    /// # Errors
    /// `Unsupported` in asynchronous code.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        if is_asynchronous() {
            return Err(Error::unsupported(
                "a blocking call in asynchronous code would block its thread: await the methods of \
                 `Storage`, or make the call within `tokio::task::spawn_blocking`",
            ));
        }
        Ok(self.handle.block_on(future))
    }

    /// Like [`wait`](Self::wait), for futures with `io::Result`.
    pub(super) fn wait_io<T>(&self, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        self.wait(future)?
    }
}

fn cannot_start(error: io::Error) -> Error {
    Error::unexpected("cannot start the runtime of blocking calls", error)
}

/// Larger than the budget of a task, which Tokio states as 128.
const MORE_THAN_A_BUDGET: usize = 1024;

/// Returns whether this code is polled by a runtime, where `Handle::block_on` would panic.
///
/// A runtime gives each poll a budget ([`tokio::task::coop`]). Other code, such as that of
/// `spawn_blocking`, has none, although it can get a handle of the runtime.
fn is_asynchronous() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut spent = Vec::with_capacity(MORE_THAN_A_BUDGET);
    let is_limited = (0..MORE_THAN_A_BUDGET).any(|_| match poll_proceed(&mut cx) {
        Poll::Ready(unit) => {
            spent.push(unit);
            false
        }
        Poll::Pending => true,
    });
    // Dropping a unit returns it to the budget. The last one is dropped first.
    while spent.pop().is_some() {}
    is_limited
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::has_budget_remaining;

    use super::*;

    #[test]
    fn code_without_a_runtime_is_not_asynchronous() {
        assert!(!is_asynchronous());
        let runtime = Builder::new_current_thread().build().unwrap();
        let _context = runtime.enter();
        assert!(!is_asynchronous());
    }

    async fn check_everywhere() {
        assert!(is_asynchronous());
        tokio::spawn(async { assert!(is_asynchronous()) }).await.unwrap();
        let blocking = || assert!(!is_asynchronous());
        tokio::task::spawn_blocking(blocking).await.unwrap();
        std::thread::spawn(blocking).join().unwrap();
    }

    #[tokio::test]
    async fn futures_are_asynchronous_and_blocking_closures_are_not() {
        check_everywhere().await;
        let local = tokio::task::LocalSet::new();
        local.run_until(check_everywhere()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn futures_on_several_threads_are_asynchronous_and_blocked_threads_are_not() {
        check_everywhere().await;
        tokio::task::block_in_place(|| assert!(!is_asynchronous()));
    }

    #[tokio::test]
    async fn the_check_spends_nothing_of_the_budget() {
        for _ in 0..MORE_THAN_A_BUDGET {
            assert!(is_asynchronous());
            assert!(has_budget_remaining());
        }
    }

    #[test]
    fn the_thread_of_a_runtime_ends_with_its_last_clone() {
        let runtime = Runtime::start().unwrap();
        let (ended, wait) = std::sync::mpsc::channel::<()>();
        let clone = runtime.clone();
        // Lives as long as the runtime.
        runtime.handle.spawn(async move {
            std::future::pending::<()>().await;
            drop(ended);
        });
        drop(runtime);
        assert_eq!(clone.wait(async { 1 }).unwrap(), 1);
        assert_eq!(wait.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        drop(clone);
        assert!(wait.recv().is_err());
    }
}
