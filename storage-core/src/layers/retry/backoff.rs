//! [`Backoff`]: how often to try again, and how long to wait before.

use std::future::Future;
use std::time::Duration;

use crate::error::{Error, Operation, Result};

/// The longest that a backend's own wish to be left alone is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Exponential backoff with full jitter: before the n-th further attempt, a random time of up to
/// `base * 2^(n-1)`, at most `cap`. So the callers whom one hiccup has hit at once come back apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    pub(super) retries: u32,
    pub(super) base: Duration,
    pub(super) cap: Duration,
}

impl Backoff {
    /// Makes a call until it succeeds, fails for good or the attempts are used up.
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

    /// No failure so far.
    pub(super) fn attempts(self, operation: Operation) -> Attempts {
        Attempts { backoff: self, operation, failures: 0 }
    }

    fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(doubled).min(self.cap);
        let jitter = Duration::try_from_secs_f64(longest.as_secs_f64() * random_fraction())
            .unwrap_or(longest);
        // On top of what the backend asks for, which it may ask of many at once.
        asked.unwrap_or_default().min(MAX_RETRY_AFTER).saturating_add(jitter)
    }
}

/// From 0 to 1; 1, the longest wait, if the system has no random numbers.
fn random_fraction() -> f64 {
    getrandom::u64().map_or(1.0, |random| random as f64 / u64::MAX as f64)
}

/// Whether this answer of many is one to ask for again.
pub(super) fn is_to_be_repeated(answer: &Result<()>) -> bool {
    answer.as_ref().is_err_and(Error::is_retryable)
}

/// The failures of one call since it last got on.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    operation: Operation,
    failures: u32,
}

impl Attempts {
    /// Waits until it is time to try again after this error; gives the error back if it is not to
    /// be.
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

    /// For a call with many answers: waits until it is time to ask again for those that are to be
    /// repeated. `false` if there are none, or no attempts are left; then their errors say so.
    pub(super) async fn after_all(&mut self, answers: &mut [Result<()>]) -> bool {
        let repeated = || {
            answers
                .iter()
                .filter(|answer| is_to_be_repeated(answer))
                .filter_map(|answer| answer.as_ref().err())
        };
        // One wait is for all of them, so as long as the one that asks for the longest.
        let Some(error) = repeated().max_by_key(|error| error.retry_after()) else { return false };
        if self.failures < self.backoff.retries {
            self.wait(error).await;
            return true;
        }
        for answer in answers.iter_mut().filter(|answer| is_to_be_repeated(answer)) {
            let given = std::mem::replace(answer, Ok(()));
            *answer = given.map_err(|error| self.given_up(error));
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

    /// It got on: the count begins anew.
    pub(super) fn progress(&mut self) {
        self.failures = 0;
    }
}
