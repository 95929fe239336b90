//! [`Moment`]: how long ago something was, also if the machine was suspended since.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A point in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// Returns the time since then: the longer of two, because the monotonic clock of Linux stands
    /// still while the machine is suspended, and the time of day may be set back.
    pub(crate) fn age(self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_age_is_the_longer_of_both_clocks() {
        let moment = Moment::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(moment.age() >= Duration::from_secs(5));
        let suspended = Moment { wall: moment.wall - Duration::from_secs(3600), ..Moment::now() };
        assert!(suspended.age() >= Duration::from_secs(3600));
        let set_back = Moment { wall: moment.wall + Duration::from_secs(3600), ..Moment::now() };
        assert!(set_back.age() < Duration::from_secs(60));
    }
}
