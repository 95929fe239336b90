//! [`Proxy`]: stands between the driver and a server, and fails on purpose.
//!
//! A test plans what goes wrong, by S3's operation and by the number of the call; the rest passes.
//! Each plan tells how often it came to pass, so that no test passes because its fault never fired.
//! The proxy writes down what came by ([`Record`]), and a test waits for events of it
//! ([`Proxy::until`]), never for time.
//!
//! It speaks HTTP/1.1 by hand on the side of the driver, since the faults are in the bytes on the
//! wire: a connection that is reset, a head that comes byte by byte, a body that ends before its
//! length. It lives on threads of its own: a test may stop or turn on its own clock.

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
pub(crate) use record::{Reached, Record};
pub(crate) use wire::{CannedResponse, RecordedRequest};

/// For how long an event is waited for that must come: a test that fails takes as long.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A proxy of a test's own, or of one of its cases, which shares a [`Front`] with others.
pub(crate) struct Proxy {
    front: Arc<Front>,
    state: Arc<State>,
}

/// What the conversations share with the test.
pub(crate) struct State {
    /// What requests mention that are for this proxy.
    prefix: String,
    plans: Mutex<Vec<Arc<plan::ActivePlan>>>,
    record: Mutex<Record>,
    /// Says that there is something new in the record.
    changes: watch::Sender<()>,
}

impl Proxy {
    /// In place of a server: responses what the script says.
    pub(crate) fn scripted(
        script: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        Self::below(&Front::scripted(script), "")
    }

    /// For what is below a prefix; nobody else gets to see it.
    pub(crate) fn below(front: &Arc<Front>, prefix: impl Into<String>) -> Self {
        let (plans, record, changes) = (Mutex::default(), Mutex::default(), watch::Sender::new(()));
        let state = Arc::new(State { prefix: prefix.into(), plans, record, changes });
        front.add(&state);
        Self { front: Arc::clone(front), state }
    }

    /// Where the driver finds it.
    pub(crate) fn endpoint(&self) -> Url {
        self.front.endpoint()
    }

    /// Plans a fault of an operation: `"PutObject"`, or `"*"` for any.
    pub(crate) fn on(&self, operation: &'static str) -> Plan<'_> {
        Plan::new(&self.state, operation)
    }

    /// How many requests for an operation have come.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.inspect(|record| record.count(operation))
    }

    /// Looks at what has come by.
    pub(crate) fn inspect<T>(&self, inspect: impl FnOnce(&Record) -> T) -> T {
        inspect(&self.state.record())
    }

    /// Waits until the record is as it should be.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&Record) -> bool + Send + Sync + 'static,
    ) {
        let state = Arc::clone(&self.state);
        // On the proxy's clock, which no test turns on.
        let waiting = runtime().spawn(async move {
            let mut changes = state.changes.subscribe();
            let came = async {
                while !holds(&state.record()) {
                    let _ = changes.changed().await;
                }
            };
            tokio::time::timeout(EVENT_TIMEOUT, came).await.is_ok()
        });
        assert!(
            waiting.await.unwrap(),
            "{what} was waited for in vain: {:#?}",
            *self.state.record()
        );
    }

    /// Waits until each upload that was created is complete or aborted.
    pub(crate) async fn no_upload_is_left(&self) {
        self.until("the end of all uploads", |record| record.open_uploads().is_empty()).await;
    }
}

impl State {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes something down.
    fn record_event<T>(&self, write: impl FnOnce(&mut Record) -> T) -> T {
        let written = write(&mut self.record());
        self.changes.send_replace(());
        written
    }

    fn plans(&self) -> MutexGuard<'_, Vec<Arc<plan::ActivePlan>>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads for all proxies of a process, beside those of the tests.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}
