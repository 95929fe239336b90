//! [`Breaker`]: whether a mirror is asked at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest that a mirror is left alone.
const LONGEST_OPEN: Duration = Duration::from_secs(10 * 60);

/// What is thought of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MirrorState {
    /// It answers as it should.
    Healthy,
    /// Its last answers were trouble, or it has just come back. It is asked.
    Suspect,
    /// It is left alone, but for one trial at a time once its time is over.
    Open,
}

impl MirrorState {
    /// The state's name, as it appears in events and metrics: `"healthy"`.
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
    /// How many failures in a row open it.
    pub(crate) failures: u32,
    /// For how long, times how often it has opened since the mirror was last healthy.
    pub(crate) open: Duration,
}

/// Counts what becomes of the requests to a mirror, and says whether there is to be another.
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
    /// Whether a trial is under way.
    trial: bool,
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

    /// Whether it is open and its time is not over yet.
    pub(crate) fn is_shut(&self) -> bool {
        self.record().until.is_some_and(|until| Instant::now() < until)
    }

    /// Leave to ask the mirror; `None` if it is to be left alone.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Attempt> {
        let mut record = self.record();
        let is_trial = match record.until {
            None => false,
            Some(until) if record.trial || Instant::now() < until => return None,
            Some(_) => true,
        };
        record.trial = is_trial;
        drop(record);
        Some(Attempt { breaker: Arc::clone(self), is_trial })
    }

    // Nothing panics while the lock is held, so a poisoned one holds a sound record all the same.
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
        let time = settings.open.saturating_mul(self.opened).min(LONGEST_OPEN);
        self.until = Some(Instant::now() + time);
    }
}

/// One request to a mirror, and the body of its answer. Dropped without a word, it says nothing of
/// the mirror: a reader may lose interest.
#[derive(Debug)]
#[must_use = "the breaker learns nothing of an attempt whose end it is not told"]
pub(crate) struct Attempt {
    breaker: Arc<Breaker>,
    is_trial: bool,
}

impl Attempt {
    /// The answer has begun, and so far it is as it should be. Ends a trial, since a body may take
    /// hours: the mirror is suspect then, and one more failure opens the breaker again.
    pub(crate) fn answered(&mut self) {
        if !std::mem::take(&mut self.is_trial) {
            return;
        }
        let mut record = self.breaker.record();
        (record.until, record.trial) = (None, false);
        record.failures = self.breaker.settings.failures.saturating_sub(1);
    }

    /// The answer was as it should be, to its end.
    pub(crate) fn succeeded(mut self) {
        self.answered();
        let mut record = self.breaker.record();
        // What was asked before it opened says nothing about now.
        if record.until.is_none() {
            (record.failures, record.opened) = (0, 0);
        }
    }

    /// No answer, a bad one, or one that broke off. Answers whether that has opened the breaker.
    pub(crate) fn failed(mut self) -> bool {
        let mut record = self.breaker.record();
        if !std::mem::take(&mut self.is_trial) && record.until.is_some() {
            return false;
        }
        record.trial = false;
        record.fail(self.breaker.settings);
        record.until.is_some()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.record().trial = false;
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
    async fn five_failures_in_a_row_open_it() {
        let breaker = breaker();
        assert_eq!(breaker.state(), MirrorState::Healthy);
        fail(&breaker, 4);
        assert_eq!(breaker.state(), MirrorState::Suspect);
        assert!(breaker.enter().unwrap().failed(), "the fifth");
        assert_eq!(breaker.state(), MirrorState::Open);
        assert!(breaker.enter().is_none() && breaker.is_shut());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_in_between_starts_the_count_anew() {
        let breaker = breaker();
        fail(&breaker, 4);
        breaker.enter().unwrap().succeeded();
        assert_eq!(breaker.state(), MirrorState::Healthy);
        fail(&breaker, 4);
        assert_eq!(breaker.state(), MirrorState::Suspect);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_begin_well_and_break_off_open_it_too() {
        let breaker = breaker();
        for _ in 0..5 {
            let mut attempt = breaker.enter().unwrap();
            attempt.answered();
            let _ = attempt.failed();
        }
        assert_eq!(breaker.state(), MirrorState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_time_there_is_one_trial_at_a_time_and_one_that_succeeds_closes_it() {
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
    async fn each_time_it_opens_it_is_open_for_longer_up_to_ten_minutes() {
        let breaker = breaker();
        fail(&breaker, 5);
        for count in 1..=30 {
            let time = (OPEN * count).min(LONGEST_OPEN);
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
        tokio::time::advance(LONGEST_OPEN).await;
        breaker.enter().unwrap().succeeded();
        fail(&breaker, 5);
        tokio::time::advance(OPEN).await;
        assert!(breaker.enter().is_some(), "healthy in between, it starts anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_whose_answer_begins_lets_others_in_but_one_failure_opens_again() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(OPEN).await;
        let mut trial = breaker.enter().unwrap();
        trial.answered();
        assert_eq!(breaker.state(), MirrorState::Suspect);
        assert!(trial.failed());
        tokio::time::advance(OPEN).await;
        assert!(breaker.enter().is_none(), "open for twice the time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_given_up_makes_room_for_another() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(OPEN).await;
        drop(breaker.enter().unwrap());
        assert!(breaker.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_it_opened_neither_closes_it_nor_keeps_it_open() {
        let breaker = breaker();
        let (late_success, late_failure) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        fail(&breaker, 5);
        late_success.succeeded();
        assert_eq!(breaker.state(), MirrorState::Open);
        tokio::time::advance(OPEN).await;
        assert!(!late_failure.failed());
        assert!(breaker.enter().is_some(), "the late failure has made it wait longer");
    }
}
