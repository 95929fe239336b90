//! [`Outage`]: whether a service is unavailable, judged by keys that fail one after another.

use storage_core::Error;

use crate::ledger::Entry;

/// How many keys must fail temporarily in a row, each after all its attempts.
const KEYS: usize = 8;

/// The last keys that failed temporarily, with no other key after them. As long as the service may
/// be unavailable, they are not settled, so that a later worker of a job tries them again.
#[derive(Default)]
pub(crate) struct Outage {
    failed: Vec<(Option<u64>, Entry)>,
    error: Option<Error>,
    /// How many keys failed temporarily in the whole pass.
    pub(crate) keys: u64,
}

impl Outage {
    /// Adds a key that failed temporarily, with its number in the ledger.
    pub(crate) fn add(&mut self, number: Option<u64>, entry: Entry, error: Error) {
        self.keys += 1;
        self.failed.push((number, entry));
        self.error = Some(error);
    }

    /// Returns the last error, if the service is unavailable.
    pub(crate) fn certain(&mut self) -> Option<Error> {
        if self.failed.len() < KEYS { None } else { self.error.take() }
    }

    /// Returns the keys that failed, because the service responds again, or because no more keys
    /// follow.
    pub(crate) fn end(&mut self) -> Vec<(Option<u64>, Entry)> {
        std::mem::take(&mut self.failed)
    }
}
