//! [`Away`]: the time in which a future could continue and its caller does not poll it.
//!
//! A timer alone cannot distinguish a slow backend from a caller who does something else before it
//! polls again. The waker can: it is woken when the backend has responded.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Measures how long a caller takes to poll a future after it was woken.
pub(super) struct Away(Arc<Record>);

#[derive(Default)]
struct Record(Mutex<State>);

#[derive(Default)]
struct State {
    /// The waker of the last poll.
    caller: Option<Waker>,
    /// When it was first woken since then.
    woken: Option<Instant>,
}

impl Away {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Begins a poll. Returns the waker for it, and how long the caller was away before.
    pub(super) fn poll(&self, cx: &Context<'_>) -> (Waker, Duration) {
        let mut state = self.0.state();
        let away = state.woken.take().map_or(Duration::ZERO, |woken| woken.elapsed());
        state.caller = Some(cx.waker().clone());
        (Waker::from(Arc::clone(&self.0)), away)
    }
}

impl Record {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Record {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let caller = {
            let mut state = self.state();
            state.woken.get_or_insert_with(Instant::now);
            state.caller.clone()
        };
        if let Some(caller) = caller {
            caller.wake();
        }
    }
}

/// Runs a future for at most this time, in which the time that the caller is away does not count.
/// Returns `None` if the time is over.
pub(super) async fn within<T>(after: Duration, future: impl Future<Output = T>) -> Option<T> {
    let away = Away::new();
    let mut future = pin!(future);
    let mut timer = pin!(tokio::time::sleep(after));
    poll_fn(|cx| {
        let (waker, time) = away.poll(cx);
        if !time.is_zero() {
            let deadline = timer.deadline() + time;
            timer.as_mut().reset(deadline);
        }
        let cx = &mut Context::from_waker(&waker);
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
        }
    })
    .await
}
