//! [`Breaker`]: a circuit breaker, which stops requests to a mirror that fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Upper bound for the time that a breaker stays open.
const MAX_OPEN: Duration = Duration::from_secs(10 * 60);

/// The state of a mirror, as its recent responses show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MirrorState {
    /// All recent responses were valid.
    Healthy,
    /// Some of the last requests failed, or the mirror has just recovered. It is still used.
    Suspect,
    /// The mirror is not used. After [`breaker_open`](crate::HttpCacheBuilder::breaker_open), one
    /// trial request at a time is sent.
    Open,
}

impl MirrorState {
    /// Returns the name of the state, as events and metrics contain it: `"healthy"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Open => "open",
        }
    }
}

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BreakerSettings {
    /// How many consecutive failures open it.
    pub(crate) failures: u32,
    /// How long it stays open. Multiplied by how often it has opened since the last success.
    pub(crate) open: Duration,
}

/// Counts the failures of a mirror and decides whether to send it another request.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Failures since the last success.
    failures: u32,
    /// How often it has opened since the last success.
    opened: u32,
    /// Set while it is open.
    until: Option<Instant>,
    /// Whether a trial request is in progress.
    has_trial: bool,
}

impl Breaker {
    pub(crate) fn new(settings: BreakerSettings) -> Arc<Self> {
        Arc::new(Self { settings, record: Mutex::default() })
    }

    pub(crate) fn state(&self) -> MirrorState {
        self.record().state()
    }

    pub(crate) fn failures(&self) -> u32 {
        self.record().failures
    }

    /// Returns whether it is open and does not allow a trial yet.
    pub(crate) fn is_blocked(&self) -> bool {
        self.record().until.is_some_and(|until| Instant::now() < until)
    }

    /// Permits a request to the mirror, or returns `None` if it must not be used.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Attempt> {
        let mut record = self.record();
        let is_trial = match record.until {
            None => false,
            Some(until) if record.has_trial || Instant::now() < until => return None,
            Some(_) => true,
        };
        record.has_trial = is_trial;
        drop(record);
        Some(Attempt { breaker: Arc::clone(self), is_trial })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn state(&self) -> MirrorState {
        match (self.until, self.failures + self.opened) {
            (Some(_), _) => MirrorState::Open,
            (None, 0) => MirrorState::Healthy,
            (None, _) => MirrorState::Suspect,
        }
    }

    fn fail(&mut self, settings: BreakerSettings) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < settings.failures {
            return;
        }
        self.opened = self.opened.saturating_add(1);
        let time = settings.open.saturating_mul(self.opened).min(MAX_OPEN);
        self.until = Some(Instant::now() + time);
    }
}

/// One request to a mirror, and the body of its response. Dropping it records nothing, because a
/// reader may stop early.
#[derive(Debug)]
#[must_use = "the breaker counts an attempt only if its result is recorded"]
pub(crate) struct Attempt {
    breaker: Arc<Breaker>,
    is_trial: bool,
}

impl Attempt {
    /// Records that a valid response has begun. This ends a trial, because a body may take hours.
    /// The mirror is then suspect, and one more failure opens the breaker again.
    pub(crate) fn response_began(&mut self) {
        if !std::mem::take(&mut self.is_trial) {
            return;
        }
        let mut record = self.breaker.record();
        (record.until, record.has_trial) = (None, false);
        record.failures = self.breaker.settings.failures.saturating_sub(1);
    }

    /// Records a response that was valid to its end.
    pub(crate) fn succeeded(mut self) {
        self.response_began();
        let mut record = self.breaker.record();
        // A request that began before the breaker opened does not show the present state.
        if record.until.is_none() {
            (record.failures, record.opened) = (0, 0);
        }
    }

    /// Records a failure: no response, an invalid one, or one that broke off. Returns whether it
    /// opened the breaker.
    pub(crate) fn failed(mut self) -> bool {
        let mut record = self.breaker.record();
        if !std::mem::take(&mut self.is_trial) && record.until.is_some() {
            return false;
        }
        record.has_trial = false;
        record.fail(self.breaker.settings);
        record.until.is_some()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.record().has_trial = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(30);

    fn breaker() -> Arc<Breaker> {
        Breaker::new(BreakerSettings { failures: 5, open: OPEN })
    }

    fn fail(breaker: &Arc<Breaker>, times: usize) {
        for _ in 0..times {
            let _ = breaker.enter().unwrap().failed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn five_consecutive_failures_open_the_breaker() {
        let breaker = breaker();
        assert_eq!(breaker.state(), MirrorState::Healthy);
        fail(&breaker, 4);
        assert_eq!(breaker.state(), MirrorState::Suspect);
        assert!(breaker.enter().unwrap().failed(), "the fifth");
        assert_eq!(breaker.state(), MirrorState::Open);
        assert!(breaker.enter().is_none() && breaker.is_blocked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_resets_the_count_of_failures() {
        let breaker = breaker();
        fail(&breaker, 4);
        breaker.enter().unwrap().succeeded();
        assert_eq!(breaker.state(), MirrorState::Healthy);
        fail(&breaker, 4);
        assert_eq!(breaker.state(), MirrorState::Suspect);
    }

    #[tokio::test(start_paused = true)]
    async fn responses_that_break_off_open_the_breaker() {
        let breaker = breaker();
        for _ in 0..5 {
            let mut attempt = breaker.enter().unwrap();
            attempt.response_began();
            let _ = attempt.failed();
        }
        assert_eq!(breaker.state(), MirrorState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_permits_one_trial_at_a_time_and_a_success_closes_it() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(OPEN - Duration::from_millis(1)).await;
        assert!(breaker.enter().is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let trial = breaker.enter().unwrap();
        assert!(breaker.enter().is_none(), "a second trial");
        assert_eq!(breaker.state(), MirrorState::Open);
        trial.succeeded();
        assert_eq!(breaker.state(), MirrorState::Healthy);
        assert!(breaker.enter().is_some() && breaker.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_stays_open_longer_each_time_up_to_ten_minutes() {
        let breaker = breaker();
        fail(&breaker, 5);
        for count in 1..=30 {
            let time = (OPEN * count).min(MAX_OPEN);
            tokio::time::advance(time - Duration::from_millis(1)).await;
            assert!(
                breaker.enter().is_none(),
                "opened {count} times, it is open for less than {time:?}"
            );
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(
                breaker.enter().unwrap().failed(),
                "opened {count} times, it is open for more than {time:?}"
            );
        }
        tokio::time::advance(MAX_OPEN).await;
        breaker.enter().unwrap().succeeded();
        fail(&breaker, 5);
        tokio::time::advance(OPEN).await;
        assert!(breaker.enter().is_some(), "a success resets the time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_whose_response_begins_permits_requests_until_one_failure() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(OPEN).await;
        let mut trial = breaker.enter().unwrap();
        trial.response_began();
        assert_eq!(breaker.state(), MirrorState::Suspect);
        assert!(trial.failed());
        tokio::time::advance(OPEN).await;
        assert!(breaker.enter().is_none(), "open for twice the time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_trial_permits_another() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(OPEN).await;
        drop(breaker.enter().unwrap());
        assert!(breaker.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_began_before_the_breaker_opened_does_not_change_it() {
        let breaker = breaker();
        let (late_success, late_failure) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        fail(&breaker, 5);
        late_success.succeeded();
        assert_eq!(breaker.state(), MirrorState::Open);
        tokio::time::advance(OPEN).await;
        assert!(!late_failure.failed());
        assert!(breaker.enter().is_some(), "the late failure extended the time");
    }
}
