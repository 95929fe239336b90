//! [`Proxy`]: a proxy between the driver and a server, which injects faults.
//!
//! A test plans faults by S3's operation and by the number of the call. All other requests are
//! forwarded. Each plan counts how often it occurred, so that a test whose fault never occurred
//! fails. The proxy records all requests ([`Record`]). Tests wait for events in the record
//! ([`Proxy::until`]) and never for a time.
//!
//! The proxy implements HTTP/1.1 itself on the side of the driver, because the faults are in the
//! bytes: a reset connection, a head byte by byte, a body shorter than stated. It runs on threads
//! of its own, so that a test may pause or advance its own clock.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod conversation;
mod fault;
mod front;
mod plan;
mod record;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use url::Url;

pub(crate) use fault::{Fault, Gate};
pub(crate) use front::Front;
pub(crate) use plan::{Plan, PlannedFault};
pub(crate) use record::{Progress, Record};
pub(crate) use wire::{CannedResponse, RecordedRequest};

/// How long a test waits for an event before it fails.
const EVENT_TIMEOUT: Duration = Duration::from_secs(120);

/// The proxy of one test, or of one of its cases, which share a [`Front`].
pub(crate) struct Proxy {
    front: Arc<Front>,
    state: Arc<State>,
}

/// The state that the connections share with the test.
pub(crate) struct State {
    /// Requests that contain this text belong to this proxy.
    prefix: String,
    plans: Mutex<Vec<Arc<plan::ActivePlan>>>,
    record: Mutex<Record>,
    /// Notifies of changes of the record.
    changes: watch::Sender<()>,
}

impl Proxy {
    /// Creates a proxy whose responses come from a script.
    pub(crate) fn scripted(
        script: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        Self::below(&Front::scripted(script), "")
    }

    /// Creates a proxy for the requests below a prefix.
    pub(crate) fn below(front: &Arc<Front>, prefix: impl Into<String>) -> Self {
        let (plans, record, changes) = (Mutex::default(), Mutex::default(), watch::Sender::new(()));
        let state = Arc::new(State { prefix: prefix.into(), plans, record, changes });
        front.add(&state);
        Self { front: Arc::clone(front), state }
    }

    /// Returns the URL for the driver.
    pub(crate) fn endpoint(&self) -> Url {
        self.front.endpoint()
    }

    /// Plans a fault of an operation: `"PutObject"`, or `"*"` for all.
    pub(crate) fn on(&self, operation: &'static str) -> Plan<'_> {
        Plan::new(&self.state, operation)
    }

    /// Returns the number of requests of an operation.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.inspect(|record| record.count(operation))
    }

    /// Reads the record.
    pub(crate) fn inspect<T>(&self, inspect: impl FnOnce(&Record) -> T) -> T {
        inspect(&self.state.record())
    }

    /// Waits until the record fulfils a condition.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&Record) -> bool + Send + Sync + 'static,
    ) {
        let occurred = self.occurs_within(EVENT_TIMEOUT, holds).await;
        assert!(occurred, "{what} did not occur: {:#?}", *self.state.record());
    }

    /// Waits for this time at most. Returns whether the record fulfils a condition.
    pub(crate) async fn occurs_within(
        &self,
        time: Duration,
        holds: impl Fn(&Record) -> bool + Send + Sync + 'static,
    ) -> bool {
        let state = Arc::clone(&self.state);
        // Uses the proxy's clock, which tests do not change.
        let waiting = runtime().spawn(async move {
            let mut changes = state.changes.subscribe();
            let occurred = async {
                while !holds(&state.record()) {
                    let _ = changes.changed().await;
                }
            };
            tokio::time::timeout(time, occurred).await.is_ok()
        });
        waiting.await.unwrap()
    }

    /// Waits until every created upload was completed or aborted.
    pub(crate) async fn no_upload_is_left(&self) {
        self.until("the end of all uploads", |record| record.open_uploads().is_empty()).await;
    }
}

impl State {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record.
    fn record_event<T>(&self, write: impl FnOnce(&mut Record) -> T) -> T {
        let written = write(&mut self.record());
        self.changes.send_replace(());
        written
    }

    fn plans(&self) -> MutexGuard<'_, Vec<Arc<plan::ActivePlan>>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the threads of all proxies of a process.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}
