//! [`Faults`]: the script, and the plans it is made of.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_core::{Driver, Error, ErrorKind, Operation};
use tokio::sync::Semaphore;

use super::driver::Faulty;

/// A script of faults. Clones are the same script, and so is what [`layer`](Self::layer) makes.
#[derive(Clone, Default)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    rules: Vec<Rule>,
    calls: HashMap<Operation, usize>,
}

/// One plan, as the layer follows it.
struct Rule {
    operation: Operation,
    key: Option<String>,
    calls: Calls,
    /// How many calls it was asked about.
    seen: usize,
    fault: Arc<Fault>,
    planned: Planned,
}

/// Which calls a plan is for, counted from when it was made.
#[derive(Debug, Clone, Copy)]
enum Calls {
    Every,
    Nth(usize),
    First(usize),
}

/// What goes wrong.
pub(super) enum Fault {
    Fail(Box<dyn Fn() -> Error + Send + Sync>),
    LoseAnswer(ErrorKind),
    FailMidway(u64, ErrorKind),
    Truncate(u64),
    Corrupt(u64),
    Stall(u64),
    Delay(Duration),
    Hold,
}

impl Faults {
    /// A script without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the script around a driver; for [`Storage::layer`](storage_core::Storage::layer).
    #[must_use]
    pub fn layer(&self, inner: Arc<dyn Driver>) -> Faulty {
        Faulty::new(inner, self.clone())
    }

    /// Begins a plan for the calls of a verb: all of them, unless the plan says which. Of
    /// [`delete_many`](storage_core::Storage::delete_many), each key is a call of `delete`.
    ///
    /// # Panics
    /// For [`Operation::Configure`], which no driver is called with.
    pub fn on(&self, operation: Operation) -> Plan {
        assert!(operation != Operation::Configure, "a driver is not configured through its verbs");
        Plan { faults: self.clone(), operation, key: None, calls: Calls::Every }
    }

    /// How often a verb was called, with or without a fault.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> usize {
        self.script().calls.get(&operation).copied().unwrap_or(0)
    }

    /// How many faults came to pass, of all plans that were not cleared.
    #[must_use]
    pub fn fired(&self) -> usize {
        self.script().rules.iter().map(|rule| rule.planned.fired()).sum()
    }

    /// Drops all plans. Calls that are held stay held.
    pub fn clear(&self) {
        self.script().rules.clear();
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // No code of others runs while the lock is held, so nothing can be half done behind a
        // poisoned one.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and answers the faults that are planned for it.
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

/// A plan that has not been made yet: says which calls, then what goes wrong.
#[derive(Debug)]
#[must_use = "nothing is planned until it is said what goes wrong"]
pub struct Plan {
    faults: Faults,
    operation: Operation,
    key: Option<String>,
    calls: Calls,
}

impl Plan {
    /// Only calls with this key count: of a copy its source, of a listing its prefix.
    pub fn of(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Only the `n`-th call from now on; 1 is the next.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn call(mut self, n: usize) -> Self {
        assert!(n > 0, "the next call is call 1");
        self.calls = Calls::Nth(n);
        self
    }

    /// Only the next `n` calls: a trouble that passes.
    pub fn calls(mut self, n: usize) -> Self {
        self.calls = Calls::First(n);
        self
    }

    /// Fails with an error of this kind, and does nothing. A listing yields it as its only item.
    pub fn fail(self, kind: ErrorKind) -> Planned {
        self.fail_with(move || planned_error(kind))
    }

    /// Fails with this error, and does nothing.
    pub fn fail_with(self, error: impl Fn() -> Error + Send + Sync + 'static) -> Planned {
        self.plan(Fault::Fail(Box::new(error)))
    }

    /// Does what it should and then fails: an answer that was lost on its way. The save or delete
    /// *has* happened.
    ///
    /// # Panics
    /// For a listing, which answers item by item: see [`fail_midway`](Self::fail_midway).
    pub fn lose_answer(self, kind: ErrorKind) -> Planned {
        assert!(
            self.operation != Operation::List,
            "a listing has no answer to lose; plan fail_midway"
        );
        self.plan(Fault::LoseAnswer(kind))
    }

    /// Fails after this many bytes (the payload of a save, the body of an open) or entries (of a
    /// listing).
    ///
    /// # Panics
    /// For verbs that stream nothing.
    pub fn fail_midway(self, after: u64, kind: ErrorKind) -> Planned {
        self.streams("fail_midway").plan(Fault::FailMidway(after, kind))
    }

    /// Drops what follows after this many bytes or entries, without a word: the connection that
    /// breaks off under an open, the backend that keeps half of what it was sent, the listing that
    /// ends too soon. Comes to pass only if something follows. What a save was asked to verify has
    /// been verified before, and is not kept.
    ///
    /// # Panics
    /// For verbs that stream nothing.
    pub fn truncate(self, after: u64) -> Planned {
        self.streams("truncate").plan(Fault::Truncate(after))
    }

    /// Changes the byte at this position of an open's body, or of a save's payload on its way to
    /// the backend: what the save was asked to verify has been verified before, and is not kept.
    ///
    /// # Panics
    /// For verbs without bytes.
    pub fn corrupt(self, position: u64) -> Planned {
        let has_bytes = matches!(self.operation, Operation::Save | Operation::Open);
        assert!(has_bytes, "{} has no bytes to corrupt", self.operation);
        self.plan(Fault::Corrupt(position))
    }

    /// Stops for ever after this many bytes or entries.
    ///
    /// # Panics
    /// For verbs that stream nothing.
    pub fn stall(self, after: u64) -> Planned {
        self.streams("stall").plan(Fault::Stall(after))
    }

    /// Begins this much later, by Tokio's clock. Prefer [`hold`](Self::hold), which needs no guess.
    pub fn delay(self, time: Duration) -> Planned {
        self.plan(Fault::Delay(time))
    }

    /// Begins when [`Planned::release`] is called; never, if it is not.
    pub fn hold(self) -> Planned {
        self.plan(Fault::Hold)
    }

    fn streams(self, what: &str) -> Self {
        let streams = matches!(self.operation, Operation::Save | Operation::Open | Operation::List);
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

/// A plan that is made: tells whether it came to pass.
#[derive(Debug, Clone)]
pub struct Planned {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    fired: AtomicUsize,
    /// A permit for every time it fired.
    reached: Semaphore,
    /// A permit for every call that may go on.
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

    /// How often it came to pass.
    #[must_use]
    pub fn fired(&self) -> usize {
        self.state.fired.load(Ordering::SeqCst)
    }

    /// Waits until it comes to pass; each time it did is waited for once. Cancel-safe.
    pub async fn reached(&self) {
        if let Ok(permit) = self.state.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets one call go on that a [`hold`](Plan::hold) stopped or will stop.
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
