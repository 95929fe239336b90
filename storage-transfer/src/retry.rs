//! [`Retry`]: how often a step of a transfer is repeated after a temporary failure, and the delays.

use std::time::Duration;

use storage_core::internal::random_fraction;
use storage_core::{Error, Result};

/// How often a step is repeated.
const MAX_RETRIES: u32 = 4;
/// The upper limit of the first delay. It doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The upper limit of any delay, also of one that a server requests.
const MAX_DELAY: Duration = Duration::from_secs(20);

/// The attempts of one step. Delays are random up to a limit that doubles ("full jitter").
#[derive(Debug, Default)]
pub(crate) struct Retry {
    attempts: u32,
}

impl Retry {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// Returns the error at once if it is permanent, or if all attempts are used.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<()> {
        if !error.is_retryable() || self.attempts == MAX_RETRIES {
            return Err(error);
        }
        let limit = FIRST_DELAY.saturating_mul(1 << self.attempts).min(MAX_DELAY);
        self.attempts += 1;
        let requested = error.retry_after().unwrap_or_default().min(MAX_DELAY);
        tracing::debug!("repeated after a temporary failure: {error}");
        tokio::time::sleep(limit.mul_f64(random_fraction()).max(requested)).await;
        Ok(())
    }
}
