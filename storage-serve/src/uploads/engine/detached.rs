//! [`Detached`]: work that does not end with the future of its request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future whose work goes on in a task of its own when it is dropped.
///
/// Until then it runs in the task of the connection. In another task from the beginning, every
/// chunk of a body would wake another thread, which halves the rate of a large upload.
pub(super) struct Detached<F: Future + Send + 'static> {
    /// `None` when the work has ended, and during a poll, so that work that panics is not polled
    /// again.
    work: Option<Pin<Box<F>>>,
}

impl<F: Future + Send + 'static> Detached<F> {
    pub(super) fn new(work: F) -> Self {
        Self { work: Some(Box::pin(work)) }
    }
}

impl<F: Future + Send + 'static> Future for Detached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<F: Future + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        // Outside of a runtime, the process ends.
        if let Some(work) = self.work.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                work.await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_after_its_future_is_dropped() {
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let mut work = Box::pin(Detached::new(async move {
            begun.await.unwrap();
            end.send("done").unwrap();
        }));
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        begin.send(()).unwrap();
        assert_eq!(ended.await.unwrap(), "done");
    }

    #[tokio::test]
    async fn work_that_has_ended_is_not_spawned() {
        let mut work = Box::pin(Detached::new(async { 7 }));
        assert_eq!(futures_util::poll!(&mut work), Poll::Ready(7));
        assert!(work.work.is_none());
    }
}
