//! Waits for what another thread or process does, for tests.

use std::time::{Duration, Instant};

/// How long [`until`] waits: far longer than a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time between two calls of a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls a condition until it holds. Returns `false` if it does not hold after two minutes.
///
/// The time is that of the machine. A thread sleeps between two calls, so the clock of a test that
/// has paused it does not advance meanwhile.
#[must_use]
pub async fn until(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        // Before the call, so that a process that was stopped calls it once more.
        let is_last = begin.elapsed() > PATIENCE;
        if holds().await {
            return true;
        }
        if is_last {
            return false;
        }
        let _ = tokio::task::spawn_blocking(|| std::thread::sleep(PAUSE)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_another_thread_does_not_advance_a_paused_clock() {
        static IS_DONE: AtomicBool = AtomicBool::new(false);
        let begin = tokio::time::Instant::now();
        let thread = std::thread::spawn(|| {
            std::thread::sleep(PAUSE * 4);
            IS_DONE.store(true, Ordering::SeqCst);
        });
        assert!(until(async || IS_DONE.load(Ordering::SeqCst)).await);
        assert_eq!(begin.elapsed(), Duration::ZERO);
        thread.join().unwrap();
    }
}
