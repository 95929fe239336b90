//! [`Plan`]: the requests that a fault applies to.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::State;
use super::fault::Fault;
use super::wire::RecordedRequest;

/// A fault in preparation. Applies to every request of the operation unless it is restricted.
#[must_use = "a plan has no effect until `then` sets its fault"]
pub(crate) struct Plan<'a> {
    state: &'a State,
    operation: &'static str,
    only: Box<dyn Fn(&RecordedRequest) -> bool + Send + Sync>,
    calls: RangeInclusive<usize>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(state: &'a State, operation: &'static str) -> Self {
        Self { state, operation, only: Box::new(|_| true), calls: 1..=usize::MAX }
    }

    /// Restricts the plan to the request of this number. The first one has the number 1.
    pub(crate) fn call(self, number: usize) -> Self {
        self.calls(number..=number)
    }

    /// Restricts the plan to the requests of these numbers.
    pub(crate) fn calls(mut self, calls: RangeInclusive<usize>) -> Self {
        self.calls = calls;
        self
    }

    /// Restricts the plan to requests that match.
    pub(crate) fn only(
        mut self,
        only: impl Fn(&RecordedRequest) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.only = Box::new(only);
        self
    }

    /// Restricts the plan to requests with this header.
    pub(crate) fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.only(move |request| {
            request.headers().get(name).is_some_and(|found| found.as_bytes() == value.as_bytes())
        })
    }

    /// Sets the fault. If several plans apply to a request, the first one counts.
    pub(crate) fn then(self, fault: Fault) -> PlannedFault {
        let Self { state, operation, only, calls } = self;
        let (met, fired) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let active = Arc::new(ActivePlan { operation, only, calls, fault, met, fired });
        state.plans().push(Arc::clone(&active));
        PlannedFault(active)
    }
}

/// A planned fault.
#[derive(Clone)]
#[must_use = "assert that the fault occurred, or the test proves nothing"]
pub(crate) struct PlannedFault(Arc<ActivePlan>);

impl PlannedFault {
    /// Returns how often the fault occurred.
    pub(crate) fn fired(&self) -> usize {
        self.0.fired.load(Ordering::SeqCst)
    }

    /// Asserts that the fault occurred.
    #[track_caller]
    pub(crate) fn assert_fired(&self) {
        assert!(self.fired() > 0, "{:?} of {} did not occur", self.0.fault, self.0.operation);
    }
}

pub(crate) struct ActivePlan {
    operation: &'static str,
    only: Box<dyn Fn(&RecordedRequest) -> bool + Send + Sync>,
    calls: RangeInclusive<usize>,
    fault: Fault,
    /// How many requests matched.
    met: AtomicUsize,
    fired: AtomicUsize,
}

impl ActivePlan {
    fn is_for(&self, operation: &str, request: &RecordedRequest) -> bool {
        let is_of_its_kind =
            (self.operation == operation || self.operation == "*") && (self.only)(request);
        is_of_its_kind && self.calls.contains(&(self.met.fetch_add(1, Ordering::SeqCst) + 1))
    }
}

impl State {
    /// Returns the planned fault of a request.
    pub(super) fn fault_for(&self, operation: &str, request: &RecordedRequest) -> Option<Fault> {
        let plans = self.plans();
        // Every plan counts its requests, whether or not another plan precedes it.
        let planned = plans.iter().fold(None, |first, plan| {
            let is_for_it = plan.is_for(operation, request);
            first.or(is_for_it.then_some(plan))
        })?;
        planned.fired.fetch_add(1, Ordering::SeqCst);
        Some(planned.fault.clone())
    }
}
