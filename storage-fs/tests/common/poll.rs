//! Driving a future by hand on a runtime with one blocking thread, where the order of things is
//! known.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime whose blocking work all runs on one thread, which lives as long as the runtime.
pub(crate) fn single_blocking_thread() -> Runtime {
    Builder::new_current_thread()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(3600))
        // Timers, and no more: a driver for sockets would be woken by `write`, which is one of the
        // calls that are made to fail.
        .enable_time()
        .build()
        .unwrap()
}

/// The id of that thread.
pub(crate) async fn blocking_thread() -> u32 {
    let id = tokio::task::spawn_blocking(|| rustix::thread::gettid().as_raw_nonzero().get());
    u32::try_from(id.await.unwrap()).unwrap()
}

/// Waits until all blocking work that has been handed on so far is done.
pub(crate) async fn settled() {
    tokio::task::spawn_blocking(|| ()).await.unwrap();
}

/// What became of a future that was polled so often.
pub(crate) enum Polled<T> {
    Done(T),
    /// Dropped before it was done.
    Dropped,
}

/// Polls a future `times` times, with all blocking work done in between, then drops it: before the
/// work that it has handed on last has begun, or when that is done. To be called within a runtime
/// of [`single_blocking_thread`].
pub(crate) async fn poll_times<F: Future>(
    future: F,
    times: usize,
    let_work: bool,
) -> Polled<F::Output> {
    let mut future = Box::pin(future);
    let mut held = hold_blocking_thread();
    for _ in 0..times {
        drop(held);
        settled().await;
        held = hold_blocking_thread();
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Polled::Done(done);
        }
    }
    if let_work {
        drop(held);
        settled().await;
        held = hold_blocking_thread();
    }
    drop(future);
    drop(held);
    Polled::Dropped
}

/// How many trips to the blocking pool a future takes: none of its blocking work is done while it
/// is polled, and all that was handed on before it is polled again, so that every further poll that
/// is needed is another trip.
pub(crate) async fn trips<F: Future>(future: F) -> (usize, F::Output) {
    let mut future = pin!(future);
    for trips in 0..10_000 {
        let held = hold_blocking_thread();
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(held);
        if let Poll::Ready(done) = polled {
            return (trips, done);
        }
        settled().await;
    }
    panic!("it does not end");
}

/// Holds the blocking thread up until dropped.
pub(crate) struct Held(Option<std::sync::mpsc::Sender<()>>);

pub(crate) fn hold_blocking_thread() -> Held {
    let (release, released) = std::sync::mpsc::channel();
    drop(Handle::current().spawn_blocking(move || released.recv()));
    Held(Some(release))
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
