//! [`Case`]: one promise of the contract, tried on a driver.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location};
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use storage_core::Error;

use crate::harness::Harness;
use crate::kit::Kit;
use crate::need::Need;

/// A case that takes longer hangs. Far above what a slow disk needs.
const TIME_LIMIT: Duration = Duration::from_secs(300);

pub(crate) type Checked = Result<(), Failure>;
pub(crate) type Run = for<'a> fn(&'a Kit) -> BoxFuture<'a, Checked>;

/// One case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: Run,
}

impl Case {
    /// Its name: theme and sentence, `save::a_failed_stream_leaves_the_old_object`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it needs to apply to a driver.
    #[must_use]
    pub fn needs(&self) -> &'static [Need] {
        self.needs
    }

    /// Whether it looks at the size of the process, and so should be the only one in it.
    pub(crate) fn measures_memory(&self) -> bool {
        self.needs.contains(&Need::BodiesOutsideMemory)
    }

    /// Tries it on a fresh storage of the harness and says how it went, without panicking: to prove
    /// that a suite finds a fault that is there.
    ///
    /// Runs on a Tokio runtime of its own, so it must not be called from within one.
    pub fn verdict(&self, harness: impl Harness) -> Verdict {
        on_a_runtime(self.judged(Arc::new(harness)))
    }

    async fn judged(self, harness: Arc<dyn Harness>) -> Verdict {
        let attempt = AssertUnwindSafe(self.tried(harness)).catch_unwind();
        match tokio::time::timeout(TIME_LIMIT, attempt).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(panic)) => Verdict::Failed(message_of(&*panic)),
            Err(_) => Verdict::Failed(format!("it did not end within {TIME_LIMIT:?}")),
        }
    }

    async fn tried(self, harness: Arc<dyn Harness>) -> Verdict {
        if let Some(reason) = harness.excuses(self.name) {
            return Verdict::Excused(reason.to_owned());
        }
        let fixture = harness.fixture().await;
        for need in self.needs {
            if !need.is_met(&*harness, &fixture).await {
                return Verdict::Skipped(*need);
            }
        }
        let kit = Kit::new(harness, fixture);
        match (self.run)(&kit).await {
            Ok(()) => Verdict::Passed,
            Err(failure) => Verdict::Failed(failure.0),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("needs", &self.needs).finish()
    }
}

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The driver keeps the promise.
    Passed,
    /// The promise does not apply to the driver, for want of this.
    Skipped(Need),
    /// The promise cannot be kept here, for this reason of the harness's ([`Harness::excuses`]).
    Excused(String),
    /// The driver breaks the promise, in this way.
    Failed(String),
}

impl Verdict {
    /// Why the case was not tried, if it was not.
    #[must_use]
    pub fn reason_to_skip(&self) -> Option<String> {
        match self {
            Self::Skipped(need) => Some(need.to_string()),
            Self::Excused(reason) => Some(reason.clone()),
            Self::Passed | Self::Failed(_) => None,
        }
    }
}

/// Why a case failed, where it was not an assertion.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Puts words before the reason, to say where it was.
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
    /// Keeps the place of the `?` that met the error.
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

/// Runs a future to its end on a multi-threaded runtime, for the tests that the macro makes.
pub(crate) fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no Tokio runtime: {error}"));
    let output = runtime.block_on(future);
    // A driver's call that hangs in the blocking pool must not hang the test as well.
    runtime.shutdown_background();
    output
}

/// The cases that do not apply to the harness's storages, and why.
pub(crate) fn skipped(harness: &impl Harness) -> Vec<(&'static Case, Verdict)> {
    on_a_runtime(async {
        let fixture = harness.fixture().await;
        let mut known: HashMap<Need, bool> = HashMap::new();
        let mut skipped = Vec::new();
        for case in crate::cases::cases() {
            if let Some(reason) = harness.excuses(case.name) {
                skipped.push((case, Verdict::Excused(reason.to_owned())));
                continue;
            }
            for need in case.needs {
                let met = match known.get(need) {
                    Some(met) => *met,
                    None => need.is_met(harness, &fixture).await,
                };
                known.insert(*need, met);
                if !met {
                    skipped.push((case, Verdict::Skipped(*need)));
                    break;
                }
            }
        }
        skipped
    })
}
