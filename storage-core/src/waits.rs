//! [`Waits`]: how often a driver repeats a request or takes up a body again, and how long it waits before.

use std::time::Duration;

use crate::keys;

/// How often, without a byte in between.
const RETRIES: u32 = 5;
/// The longest wait before the first attempt; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait before any, and the longest that a server is granted that asks for one.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// For drivers: the waits between attempts, random up to a limit that doubles ("full jitter"), so
/// that many clients do not come back at the same moment. Five attempts without progress, after at
/// most 0.1 s, 0.2 s, ... each.
///
/// The layer [`Retry`](crate::layers::Retry) repeats whole calls. This is for what a driver repeats
/// inside one.
///
/// ```
/// let mut waits = storage_core::Waits::default();
/// assert!(waits.next(None).unwrap() <= std::time::Duration::from_millis(100));
/// ```
#[derive(Debug, Default)]
pub struct Waits {
    attempts: u32,
}

impl Waits {
    /// How long to wait before the next attempt: at least as long as the server asked for, up to 20
    /// s. `None` if there shall be none.
    pub fn next(&mut self, asked_for: Option<Duration>) -> Option<Duration> {
        if self.attempts == RETRIES {
            return None;
        }
        let limit = FIRST_WAIT.saturating_mul(1 << self.attempts).min(LONGEST_WAIT);
        self.attempts += 1;
        let share = keys::random_bytes::<2>()
            .map_or(1.0, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65535.0);
        Some(limit.mul_f64(share).max(asked_for.unwrap_or_default().min(LONGEST_WAIT)))
    }

    /// Starts anew, after progress.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_to_an_end_and_no_wait_is_longer_than_allowed() {
        let mut waits = Waits::default();
        let all: Vec<_> =
            std::iter::from_fn(|| waits.next(Some(Duration::from_secs(3600)))).take(100).collect();
        assert_eq!(all.len(), RETRIES as usize);
        assert!(all.iter().all(|wait| *wait == LONGEST_WAIT));
        waits.reset();
        assert!(waits.next(None).unwrap() <= FIRST_WAIT);
    }
}
