//! [`Backoff`]: how many times to retry a call, and how long to wait before each retry.

use std::future::Future;
use std::time::Duration;

use crate::error::{Error, Operation, Result};
use crate::random;

/// The longest wait that a backend can request (60 s).
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Exponential backoff with full jitter: before the n-th retry, a random wait of up to
/// `base * 2^(n-1)`, at most `cap`. So the retries of calls that failed together are spread out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    pub(super) retries: u32,
    pub(super) base: Duration,
    pub(super) cap: Duration,
}

impl Backoff {
    /// Repeats a call until it succeeds, fails permanently or no retries are left.
    pub(super) async fn run<T, F>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempts = self.attempts(operation);
        loop {
            match call().await {
                Ok(done) => return Ok(done),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// Returns a counter without failures.
    pub(super) fn attempts(self, operation: Operation) -> Attempts {
        Attempts { backoff: self, operation, failures: 0 }
    }

    fn wait(&self, failures: u32, requested: Option<Duration>) -> Duration {
        let doubled = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(doubled).min(self.cap);
        let jitter = Duration::try_from_secs_f64(longest.as_secs_f64() * random::fraction())
            .unwrap_or(longest);
        // The jitter is added, because the backend may request the same wait from many clients.
        requested.unwrap_or_default().min(MAX_RETRY_AFTER).saturating_add(jitter)
    }
}

/// Returns whether a result is an error after which the call can be repeated.
pub(super) fn is_retryable(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(Error::is_retryable)
}

/// The failures of one call since its last progress.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    operation: Operation,
    failures: u32,
}

impl Attempts {
    /// Waits before the next attempt. Returns the error if it is not retryable, or if no attempts
    /// are left.
    pub(super) async fn after(&mut self, error: Error) -> Result<()> {
        if !error.is_retryable() {
            return Err(error);
        }
        if self.failures >= self.backoff.retries {
            return Err(self.given_up(error));
        }
        self.wait(&error).await;
        Ok(())
    }

    /// Waits before the next attempt of a call with many results, and returns `true`.
    ///
    /// Returns `false` if no result is retryable, or if no attempts are left. In the second case,
    /// adds the number of attempts to the retryable errors.
    pub(super) async fn after_all(&mut self, results: &mut [Result<()>]) -> bool {
        let retryable = || {
            results
                .iter()
                .filter(|result| is_retryable(result))
                .filter_map(|result| result.as_ref().err())
        };
        // One wait covers all of them, so it is the longest that any of them requests.
        let Some(error) = retryable().max_by_key(|error| error.retry_after()) else { return false };
        if self.failures < self.backoff.retries {
            self.wait(error).await;
            return true;
        }
        for result in results.iter_mut().filter(|result| is_retryable(result)) {
            let failed = std::mem::replace(result, Ok(()));
            *result = failed.map_err(|error| self.given_up(error));
        }
        false
    }

    fn given_up(&self, error: Error) -> Error {
        match self.failures {
            0 => error,
            failures => error.with_context(&format!("tried {} times", u64::from(failures) + 1)),
        }
    }

    async fn wait(&mut self, error: &Error) {
        self.failures += 1;
        let wait = self.backoff.wait(self.failures, error.retry_after());
        tracing::debug!(
            operation = self.operation.as_str(),
            failures = self.failures,
            ?wait,
            error = error.message(),
            "trying again"
        );
        tokio::time::sleep(wait).await;
    }

    /// Resets the count after progress.
    pub(super) fn progress(&mut self) {
        self.failures = 0;
    }
}
