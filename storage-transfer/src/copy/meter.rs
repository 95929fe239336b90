//! [`Meter`]: counts and limits the bytes of copies.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use storage_core::Payload;
use tokio::time::Instant;

/// A function that receives each number of bytes that has passed.
pub type OnBytes = Arc<dyn Fn(u64) + Send + Sync>;

/// The longest time for which unused bandwidth may be used later.
const BURST: Duration = Duration::from_millis(200);

/// A limit of bytes per second. Clones share it.
///
/// ```
/// let bandwidth = storage_transfer::Bandwidth::new(10 * 1024 * 1024);
/// ```
#[derive(Debug, Clone)]
pub struct Bandwidth {
    bytes_per_second: u64,
    /// When the bytes that have passed so far are paid for.
    paid_until: Arc<Mutex<Instant>>,
}

impl Bandwidth {
    /// Creates a limit. 0 counts as 1 byte per second.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        let paid_until = Arc::new(Mutex::new(Instant::now()));
        Self { bytes_per_second: bytes_per_second.max(1), paid_until }
    }

    /// Returns the limit.
    pub(crate) fn per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Waits until this many bytes may pass. If the future is dropped, they count as passed.
    pub(crate) async fn pass(&self, bytes: u64) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let until = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            *paid_until = (*paid_until).max(now.checked_sub(BURST).unwrap_or(now)) + cost;
            *paid_until
        };
        tokio::time::sleep_until(until).await;
    }
}

/// Counts and limits bytes.
#[derive(Clone, Default)]
pub(super) struct Meter {
    pub(super) on_bytes: Option<OnBytes>,
    pub(super) bandwidth: Option<Bandwidth>,
}

impl Meter {
    /// Counts and limits the bytes of a payload. Returns the payload unchanged if there is nothing
    /// to do, because a stream can neither be sent again nor be copied by the operating system.
    pub(super) fn payload(&self, payload: Payload) -> Payload {
        if self.on_bytes.is_none() && self.bandwidth.is_none() {
            return payload;
        }
        let (meter, size) = (self.clone(), payload.size());
        let chunks = payload.into_stream().then(move |chunk| {
            let meter = meter.clone();
            async move {
                if let Ok(chunk) = &chunk {
                    meter.pass(chunk.len() as u64).await;
                }
                chunk
            }
        });
        let metered = Payload::from_stream(chunks);
        match size {
            Some(size) => metered.with_size(size),
            None => metered,
        }
    }

    async fn pass(&self, bytes: u64) {
        if let Some(bandwidth) = &self.bandwidth {
            bandwidth.pass(bytes).await;
        }
        if let Some(on_bytes) = &self.on_bytes {
            on_bytes(bytes);
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("bandwidth", &self.bandwidth).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_of_the_limit() {
        let (bandwidth, start) = (Bandwidth::new(1000), Instant::now());
        for _ in 0..10 {
            bandwidth.clone().pass(500).await;
        }
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(4700), "{elapsed:?}");
        assert!(elapsed <= Duration::from_millis(5100), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn unused_bandwidth_is_lost_after_a_short_time() {
        let bandwidth = Bandwidth::new(1000);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let start = Instant::now();
        bandwidth.pass(1000).await;
        assert!(start.elapsed() >= Duration::from_millis(790));
    }
}
