//! [`Gate`]: how many objects are handled at a time.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

/// Where an adaptive limit begins, and its bounds.
const START: f64 = 32.0;
const MIN: f64 = 2.0;
const MAX: f64 = 128.0;
/// The shortest time between two reductions, because one overload fails many requests at once.
const CALM: Duration = Duration::from_secs(1);

/// How many objects are handled at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concurrency {
    /// Begins with 32 and grows by one for each object, up to 128. It is halved when a service
    /// limits the rate or does not respond in time, and grows slowly after that.
    #[default]
    Adaptive,
    /// This many, at least 1.
    Fixed(usize),
}

/// Fast growth until the first overload, then additive increase, multiplicative decrease.
#[derive(Debug)]
pub(crate) struct Gate {
    fixed: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    reduced: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        let fixed = match concurrency {
            Concurrency::Adaptive => None,
            Concurrency::Fixed(limit) => Some(limit.max(1)),
        };
        Self { fixed, state: Mutex::new(State { limit: START, reduced: None }) }
    }

    /// Returns how many objects may be handled now.
    pub(crate) fn limit(&self) -> usize {
        self.fixed.unwrap_or_else(|| self.state().limit as usize)
    }

    /// Notes that an object was handled without a temporary failure.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state();
        // Twice as many for each round of requests, until the service has shown its limit.
        let step = if state.reduced.is_none() { 1.0 } else { 1.0 / state.limit };
        state.limit = (state.limit + step).min(MAX);
    }

    /// Notes that a service is overloaded.
    pub(crate) fn overloaded(&self) {
        let mut state = self.state();
        let now = Instant::now();
        if state.reduced.is_none_or(|reduced| now.duration_since(reduced) >= CALM) {
            state.limit = (state.limit / 2.0).max(MIN);
            state.reduced = Some(now);
        }
    }

    // No code panics while it holds the lock.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_overload_halves_the_limit_once_and_success_raises_it() {
        let gate = Gate::new(Concurrency::Adaptive);
        gate.overloaded();
        gate.overloaded();
        assert_eq!(gate.limit(), 16);
        for _ in 0..17 {
            gate.succeeded();
        }
        assert_eq!(gate.limit(), 17);
        for _ in 0..10 {
            tokio::time::advance(CALM).await;
            gate.overloaded();
        }
        assert_eq!(gate.limit(), 2);
    }

    #[test]
    fn the_limit_grows_by_one_for_each_success_until_the_first_overload() {
        let gate = Gate::new(Concurrency::Adaptive);
        for _ in 0..32 {
            gate.succeeded();
        }
        assert_eq!(gate.limit(), 64);
        for _ in 0..100 {
            gate.succeeded();
        }
        assert_eq!(gate.limit(), 128);
    }

    #[test]
    fn a_fixed_limit_does_not_change() {
        let gate = Gate::new(Concurrency::Fixed(0));
        gate.overloaded();
        gate.succeeded();
        assert_eq!(gate.limit(), 1);
    }
}
