//! [`Backoff`]: how often a driver repeats a request or resumes a body, and how long it waits before
//! each attempt.

use std::time::Duration;

use storage_core::internal::random_fraction;

/// Upper bound for the attempts without progress between them.
const MAX_ATTEMPTS: u32 = 5;
/// Upper bound for the delay before the first attempt. It doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Upper bound for any delay, including one that a server requests by `Retry-After`.
const MAX_DELAY: Duration = Duration::from_secs(20);

/// The delays between the attempts of one request or body: random, up to a limit that doubles
/// ("full jitter"), so that clients that failed at the same moment do not return at the same
/// moment.
///
/// Allows five attempts without progress, after at most 0.1 s, 0.2 s, 0.4 s, 0.8 s and 1.6 s, or
/// later if the server requests it, after up to 20 s. The layer
/// [`Retry`](storage_core::layers::Retry) repeats whole calls; this type is for what a driver
/// repeats within one call.
///
/// ```
/// let mut backoff = storage_client::Backoff::default();
/// assert!(backoff.next_delay(None).unwrap() <= std::time::Duration::from_millis(100));
/// ```
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Returns the delay before the next attempt, or `None` if all attempts are used.
    ///
    /// The delay is at least `retry_after`, of which at most 20 s count. If the system has no
    /// random numbers, the delay is its upper limit.
    pub fn next_delay(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        if self.attempts == MAX_ATTEMPTS {
            return None;
        }
        let limit = FIRST_DELAY.saturating_mul(1 << self.attempts).min(MAX_DELAY);
        self.attempts += 1;
        Some(limit.mul_f64(random_fraction()).max(retry_after.unwrap_or_default().min(MAX_DELAY)))
    }

    /// Allows all attempts again, after progress.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_bounded_and_no_delay_exceeds_the_maximum() {
        let mut backoff = Backoff::default();
        let hour = Some(Duration::from_secs(3600));
        let all: Vec<_> = std::iter::from_fn(|| backoff.next_delay(hour)).take(100).collect();
        assert_eq!(all.len(), MAX_ATTEMPTS as usize);
        assert!(all.iter().all(|delay| *delay == MAX_DELAY));
    }

    #[test]
    fn progress_allows_all_attempts_again() {
        let mut backoff = Backoff::default();
        while backoff.next_delay(None).is_some() {}
        backoff.reset();
        assert!(backoff.next_delay(None).unwrap() <= FIRST_DELAY);
    }
}
