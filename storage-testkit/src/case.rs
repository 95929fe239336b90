//! [`Case`]: the test of one guarantee of the contract.

use std::fmt;
use std::panic::{AssertUnwindSafe, Location};
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use storage_core::Error;

use crate::harness::Harness;
use crate::kit::Kit;
use crate::requirement::Requirement;

/// A case that takes longer fails. Slow disks need far less.
const TIME_LIMIT: Duration = Duration::from_secs(300);

pub(crate) type Checked = Result<(), Failure>;
pub(crate) type Body = for<'a> fn(&'a Kit) -> BoxFuture<'a, Checked>;

/// One case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    pub(crate) name: &'static str,
    pub(crate) requirements: &'static [Requirement],
    pub(crate) body: Body,
}

impl Case {
    /// Returns the name, theme and sentence: `save::a_failed_stream_leaves_the_old_object`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what a driver and its harness must provide for the case to apply.
    #[must_use]
    pub fn requirements(&self) -> &'static [Requirement] {
        self.requirements
    }

    /// Whether the case measures the memory of the process, and so must be alone in it.
    pub(crate) fn measures_memory(&self) -> bool {
        self.requirements.contains(&Requirement::BodiesOutsideMemory)
    }

    /// Runs the case on a new storage of the harness. Returns `Failed` instead of panicking if the
    /// driver violates the contract, so that a test can prove that the case detects a fault.
    ///
    /// Fails a case that takes more than 300 s.
    ///
    /// # Panics
    /// If it is called from within a Tokio runtime, because it starts its own.
    pub fn run(&self, harness: impl Harness) -> Outcome {
        on_a_runtime(self.run_within_limit(Arc::new(harness)))
    }

    async fn run_within_limit(self, harness: Arc<dyn Harness>) -> Outcome {
        let attempt = AssertUnwindSafe(self.attempt(harness)).catch_unwind();
        match tokio::time::timeout(TIME_LIMIT, attempt).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Outcome::Failed(message_of(&*panic)),
            Err(_) => Outcome::Failed(format!("it did not end within {TIME_LIMIT:?}")),
        }
    }

    async fn attempt(self, harness: Arc<dyn Harness>) -> Outcome {
        if let Some(reason) = harness.skip_reason(self.name) {
            return Outcome::Skipped(reason.to_owned());
        }
        let fixture = harness.fixture().await;
        for requirement in self.requirements {
            if !requirement.is_met(&*harness, &fixture).await {
                return Outcome::NotApplicable(*requirement);
            }
        }
        let kit = Kit::new(harness, fixture);
        match (self.body)(&kit).await {
            Ok(()) => Outcome::Passed,
            Err(failure) => Outcome::Failed(failure.0),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("requirements", &self.requirements)
            .finish()
    }
}

/// The result of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The driver gives the guarantee.
    Passed,
    /// The case does not apply, because the driver or the harness does not meet this requirement.
    NotApplicable(Requirement),
    /// The harness skips the case, for this reason: see [`Harness::skip_reason`].
    Skipped(String),
    /// The driver violates the guarantee. Contains the failed assertion.
    Failed(String),
}

impl Outcome {
    /// Returns why the case was not run, or `None` if it was.
    #[must_use]
    pub fn skip_reason(&self) -> Option<String> {
        match self {
            Self::NotApplicable(requirement) => Some(requirement.to_string()),
            Self::Skipped(reason) => Some(reason.clone()),
            Self::Passed | Self::Failed(_) => None,
        }
    }
}

/// The reason why a case failed without a panic.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Prepends the place where the failure occurred.
    pub(crate) fn within(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    /// Records the location of the `?`.
    #[track_caller]
    fn from(error: Error) -> Self {
        Self(format!("{}: {error}{}", Location::caller(), causes(&error)))
    }
}

fn causes(error: &Error) -> String {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |cause| cause.source())
        .map(|cause| format!("; caused by: {cause}"))
        .collect()
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked".to_owned())
}

/// Runs a future to its end on a new multi-threaded runtime.
pub(crate) fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("cannot start a Tokio runtime: {error}"));
    let output = runtime.block_on(future);
    // A call that blocks a thread of the pool must not block the test.
    runtime.shutdown_background();
    output
}
