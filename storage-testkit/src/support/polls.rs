//! Drops a future after a number of polls.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Polls a future at most `n` times, then drops it. Returns `None` if it did not complete.
pub(crate) async fn at_most<F: IntoFuture>(n: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future.into_future());
    let mut polls = 0;
    poll_fn(|cx| {
        if polls == n {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // No polls are left, so do not wait for a wake-up.
            Poll::Pending if polls == n => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
