//! [`Faults`]: the plans, and the calls so far.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::{Driver, Error, ErrorKind, Memory, Operation, Storage};
use tokio::sync::Semaphore;

use super::driver::Faulty;

/// A set of plans for faults. Clones share the plans, and so do the layers that
/// [`layer`](Self::layer) makes.
#[derive(Clone, Default)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    rules: Vec<Rule>,
    calls: HashMap<Operation, usize>,
}

/// One plan, as the layer applies it.
struct Rule {
    operation: Operation,
    key: Option<String>,
    calls: Calls,
    /// Number of calls of the verb and key since the plan was added.
    seen: usize,
    fault: Arc<Fault>,
    planned: Planned,
}

/// The calls that a plan selects, counted from its addition.
#[derive(Debug, Clone, Copy)]
enum Calls {
    Every,
    Nth(usize),
    First(usize),
}

/// The fault of a plan.
pub(super) enum Fault {
    Fail(Box<dyn Fn() -> Error + Send + Sync>),
    LoseResponse(ErrorKind),
    FailMidway(u64, ErrorKind),
    Truncate(u64),
    Corrupt(u64),
    Stall(u64),
    Delay(Duration),
    Hold,
}

impl Faults {
    /// Creates a set without plans.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps a driver, for [`Storage::layer`](storage_core::Storage::layer).
    #[must_use]
    pub fn layer(&self, inner: Arc<dyn Driver>) -> Faulty {
        Faulty::new(inner, self.clone())
    }

    /// Returns a new storage in memory with this layer, for tests of an application.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use storage_core::{ErrorKind, Operation};
    /// use storage_testkit::faults::Faults;
    ///
    /// let faults = Faults::new();
    /// let storage = faults.in_memory();
    /// faults.on(Operation::Save).fail(ErrorKind::StorageFull);
    /// assert!(storage.save("a.txt", "hello").await.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn in_memory(&self) -> Storage {
        Memory::storage().layer(|inner| self.layer(inner))
    }

    /// Starts a plan for the calls of a verb. Selects all of them unless the plan is restricted. In
    /// [`delete_many`](storage_core::Storage::delete_many), each key is a call of `delete`.
    ///
    /// # Panics
    /// For [`Operation::Configure`], which is not a verb of drivers.
    pub fn on(&self, operation: Operation) -> Plan {
        assert!(operation != Operation::Configure, "Configure is not a verb of drivers");
        Plan { faults: self.clone(), operation, key: None, calls: Calls::Every }
    }

    /// Makes all calls fail that need the backend: those of all verbs except `url`.
    pub fn fail_all(&self, kind: ErrorKind) {
        for verb in [
            Operation::Open,
            Operation::Stat,
            Operation::Exists,
            Operation::Delete,
            Operation::List,
            Operation::Save,
            Operation::Copy,
            Operation::Rename,
            Operation::BeginMultipart,
            Operation::PutPart,
            Operation::ListParts,
            Operation::CompleteMultipart,
            Operation::AbortMultipart,
            Operation::ListMultipart,
        ] {
            self.on(verb).fail(kind);
        }
    }

    /// Returns the number of calls of a verb, with or without a fault.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> usize {
        self.script().calls.get(&operation).copied().unwrap_or(0)
    }

    /// Returns how often the plans fired that were not cleared.
    #[must_use]
    pub fn fired(&self) -> usize {
        self.script().rules.iter().map(|rule| rule.planned.fired()).sum()
    }

    /// Removes all plans. Calls that are held stay held.
    pub fn clear(&self) {
        self.script().rules.clear();
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // Only code of this module runs under the lock, so a poisoned lock guards valid data.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and returns the faults that are planned for it.
    pub(super) fn of_call(&self, operation: Operation, key: &str) -> Vec<(Arc<Fault>, Planned)> {
        let mut script = self.script();
        *script.calls.entry(operation).or_default() += 1;
        let rules = script.rules.iter_mut().filter(|rule| rule.is_for(operation, key));
        let due = rules.filter_map(|rule| {
            rule.is_due().then(|| (Arc::clone(&rule.fault), rule.planned.clone()))
        });
        due.collect()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let script = self.script();
        f.debug_struct("Faults")
            .field("plans", &script.rules.len())
            .field("calls", &script.calls)
            .finish()
    }
}

impl Rule {
    fn is_for(&self, operation: Operation, key: &str) -> bool {
        self.operation == operation && self.key.as_deref().is_none_or(|wanted| wanted == key)
    }

    fn is_due(&mut self) -> bool {
        self.seen += 1;
        match self.calls {
            Calls::Every => true,
            Calls::Nth(n) => self.seen == n,
            Calls::First(n) => self.seen <= n,
        }
    }
}

/// A plan that is not added yet. First restrict the calls, then add the plan with a fault.
#[derive(Debug)]
#[must_use = "the plan is added by the method that names its fault"]
pub struct Plan {
    faults: Faults,
    operation: Operation,
    key: Option<String>,
    calls: Calls,
}

impl Plan {
    /// Selects only calls with this key: the source of a copy, the prefix of a listing.
    pub fn of(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Selects only the `n`-th call from now on; 1 is the next.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn call(mut self, n: usize) -> Self {
        assert!(n > 0, "the next call is call 1");
        self.calls = Calls::Nth(n);
        self
    }

    /// Selects only the next `n` calls, like a transient failure.
    pub fn calls(mut self, n: usize) -> Self {
        self.calls = Calls::First(n);
        self
    }

    /// Fails the call with an error of this kind, without effect. A listing contains the error as
    /// its only item.
    pub fn fail(self, kind: ErrorKind) -> Planned {
        self.fail_with(move || planned_error(kind))
    }

    /// Fails the call with this error, without effect.
    pub fn fail_with(self, error: impl Fn() -> Error + Send + Sync + 'static) -> Planned {
        self.plan(Fault::Fail(Box::new(error)))
    }

    /// Fails the call after it took effect, as if the response was lost. The save or deletion has
    /// happened.
    ///
    /// # Panics
    /// For a listing, which returns item by item: use [`fail_midway`](Self::fail_midway).
    pub fn lose_response(self, kind: ErrorKind) -> Planned {
        assert!(!self.lists(), "a listing has no response to lose; use fail_midway");
        self.plan(Fault::LoseResponse(kind))
    }

    /// Fails the call after this many bytes (the payload of a save or of a part, the body of an
    /// open) or entries (of a listing).
    ///
    /// # Panics
    /// For verbs that stream nothing.
    pub fn fail_midway(self, after: u64, kind: ErrorKind) -> Planned {
        self.streams("fail_midway").plan(Fault::FailMidway(after, kind))
    }

    /// Drops everything after this many bytes or entries without an error: a connection that breaks
    /// during an open, a backend that stores a part of the payload, or a listing that ends too
    /// early. Fires only if there are more bytes or entries. The checks of a save run before, and
    /// its checksums are not passed on.
    ///
    /// # Panics
    /// For verbs that stream nothing.
    pub fn truncate(self, after: u64) -> Planned {
        self.streams("truncate").plan(Fault::Truncate(after))
    }

    /// Changes the byte at this position in the body of an open or in the payload of a save or of a
    /// part. The checks of a save run before, and its checksums are not passed on.
    ///
    /// # Panics
    /// For verbs without bytes.
    pub fn corrupt(self, position: u64) -> Planned {
        assert!(self.has_bytes(), "{} has no bytes to corrupt", self.operation);
        self.plan(Fault::Corrupt(position))
    }

    /// Sends nothing after this many bytes or entries, and does not end.
    ///
    /// # Panics
    /// For verbs that stream nothing.
    pub fn stall(self, after: u64) -> Planned {
        self.streams("stall").plan(Fault::Stall(after))
    }

    /// Delays the call by this time on Tokio's clock. Prefer [`hold`](Self::hold), which does not
    /// depend on time.
    pub fn delay(self, time: Duration) -> Planned {
        self.plan(Fault::Delay(time))
    }

    /// Delays the call until [`Planned::release`].
    pub fn hold(self) -> Planned {
        self.plan(Fault::Hold)
    }

    fn has_bytes(&self) -> bool {
        matches!(self.operation, Operation::Save | Operation::Open | Operation::PutPart)
    }

    fn lists(&self) -> bool {
        use Operation::{List, ListMultipart, ListParts};
        matches!(self.operation, List | ListParts | ListMultipart)
    }

    fn streams(self, what: &str) -> Self {
        let streams = self.has_bytes() || self.lists();
        assert!(streams, "{} streams nothing, so it cannot {what}", self.operation);
        self
    }

    fn plan(self, fault: Fault) -> Planned {
        let planned = Planned::new();
        let Self { faults, operation, key, calls } = self;
        let rule = Rule {
            operation,
            key,
            calls,
            seen: 0,
            fault: Arc::new(fault),
            planned: planned.clone(),
        };
        faults.script().rules.push(rule);
        planned
    }
}

pub(super) fn planned_error(kind: ErrorKind) -> Error {
    Error::new(kind, "a fault, as planned by the test")
}

/// A plan that was added, with the number of times it fired.
#[derive(Debug, Clone)]
pub struct Planned {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    fired: AtomicUsize,
    /// One permit for each time the plan fired.
    reached: Semaphore,
    /// One permit for each call that may continue.
    released: Semaphore,
}

impl Planned {
    fn new() -> Self {
        let state = State {
            fired: AtomicUsize::new(0),
            reached: Semaphore::new(0),
            released: Semaphore::new(0),
        };
        Self { state: Arc::new(state) }
    }

    /// Returns how often the plan fired.
    #[must_use]
    pub fn fired(&self) -> usize {
        self.state.fired.load(Ordering::SeqCst)
    }

    /// Waits until the plan fires. Each call waits for one more firing. If the future is dropped,
    /// the next call waits for the same firing.
    pub async fn reached(&self) {
        if let Ok(permit) = self.state.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets one call continue that [`hold`](Plan::hold) has stopped or will stop.
    pub fn release(&self) {
        self.state.released.add_permits(1);
    }

    pub(super) fn fire(&self) {
        self.state.fired.fetch_add(1, Ordering::SeqCst);
        self.state.reached.add_permits(1);
    }

    pub(super) async fn until_released(&self) {
        if let Ok(permit) = self.state.released.acquire().await {
            permit.forget();
        }
    }
}
