//! Polling a future by hand on a runtime with one blocking thread, so that the order of steps is
//! known.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Returns a runtime with a single blocking thread, which lives as long as the runtime.
pub(crate) fn single_blocking_thread() -> Runtime {
    Builder::new_current_thread()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(3600))
        // Only timers: the driver for sockets uses `write`, which is one of the calls that fail.
        .enable_time()
        .build()
        .unwrap()
}

/// Returns the id of the blocking thread.
pub(crate) async fn blocking_thread() -> u32 {
    let id = tokio::task::spawn_blocking(|| rustix::thread::gettid().as_raw_nonzero().get());
    u32::try_from(id.await.unwrap()).unwrap()
}

/// Waits until all blocking work that was spawned so far is done.
pub(crate) async fn settled() {
    tokio::task::spawn_blocking(|| ()).await.unwrap();
}

/// The state of a future after a number of polls.
pub(crate) enum Polled<T> {
    Done(T),
    /// It was dropped before it was done.
    Dropped,
}

/// Polls a future `times` times, with all blocking work done in between, then drops it: before the
/// work that it spawned last has begun, or after that is done. Call it within a runtime of
/// [`single_blocking_thread`].
pub(crate) async fn poll_times<F: Future>(
    future: F,
    times: usize,
    let_work: bool,
) -> Polled<F::Output> {
    let mut future = Box::pin(future);
    let mut held = block_blocking_thread();
    for _ in 0..times {
        drop(held);
        settled().await;
        held = block_blocking_thread();
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Polled::Done(done);
        }
    }
    if let_work {
        drop(held);
        settled().await;
        held = block_blocking_thread();
    }
    drop(future);
    drop(held);
    Polled::Dropped
}

/// Returns how many trips to the blocking pool a future makes. No blocking work runs during a poll,
/// and all of it between two polls, so each additional poll is one trip.
pub(crate) async fn trips<F: Future>(future: F) -> (usize, F::Output) {
    let mut future = pin!(future);
    for trips in 0..10_000 {
        let held = block_blocking_thread();
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(held);
        if let Poll::Ready(done) = polled {
            return (trips, done);
        }
        settled().await;
    }
    panic!("it does not end");
}

/// Blocks the blocking thread until it is dropped.
pub(crate) struct BlockedThread(Option<std::sync::mpsc::Sender<()>>);

pub(crate) fn block_blocking_thread() -> BlockedThread {
    let (release, released) = std::sync::mpsc::channel();
    drop(Handle::current().spawn_blocking(move || released.recv()));
    BlockedThread(Some(release))
}

impl Drop for BlockedThread {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
