//! [`Outage`]: whether a service is unavailable, judged by keys that fail one after another.

use storage_core::Error;

use crate::directory::Directory;
use crate::ledger::Entry;

/// How many keys must fail temporarily in a row, each after all its attempts, before the services
/// are asked whether they respond.
const SUSPECTED: usize = 8;
/// How many must fail in a row before the run ends although the services respond.
const CERTAIN: usize = 64;

/// The last keys that failed temporarily, with no other key after them. As long as the service may
/// be unavailable, they are not settled, so that a later worker of a job tries them again.
#[derive(Default)]
pub(crate) struct Outage {
    failed: Vec<(Option<u64>, Entry)>,
    error: Option<Error>,
    /// How many keys failed temporarily in the whole pass.
    pub(crate) keys: u64,
    /// Whether both sides could be listed since the first of these keys.
    pub(crate) have_responded: bool,
    /// Whether a key of the pass had another outcome.
    pub(crate) has_progress: bool,
    /// Whether only a side that cannot be listed is unavailable, because earlier passes have ended
    /// at the same keys.
    pub(crate) settles_all: bool,
}

impl Outage {
    /// Adds a key that failed temporarily, with its number in the ledger.
    pub(crate) fn add(&mut self, number: Option<u64>, entry: Entry, error: Error) {
        self.keys += 1;
        self.failed.push((number, entry));
        self.error = Some(error);
    }

    /// Counts a key with another outcome, which a service has returned. The keys before it are to
    /// be settled.
    pub(crate) fn end(&mut self) -> Vec<(Option<u64>, Entry)> {
        (self.has_progress, self.have_responded) = (true, false);
        self.rest()
    }

    /// Returns the keys that failed, because no more keys follow.
    pub(crate) fn rest(&mut self) -> Vec<(Option<u64>, Entry)> {
        std::mem::take(&mut self.failed)
    }

    /// Returns the last error if a service is unavailable. A few objects that can never be copied
    /// must not keep the others from being copied, so the services are asked first.
    pub(crate) async fn certain(
        &mut self,
        sides: (&Directory, &Directory),
        is_end: bool,
    ) -> Option<Error> {
        let is_suspected = self.failed.len() >= SUSPECTED && (is_end || !self.have_responded);
        if is_suspected {
            self.have_responded = respond(sides).await;
            if !self.have_responded {
                return self.error.take();
            }
        }
        // At the end, it is no failure of a few objects if all others failed, too.
        let is_all = is_end && is_suspected && !self.has_progress;
        if self.settles_all || !(is_all || self.failed.len() >= CERTAIN) {
            return None;
        }
        self.error.take()
    }
}

/// Returns whether both sides can be listed.
async fn respond((source, target): (&Directory, &Directory)) -> bool {
    let (source, target) = tokio::join!(source.first_object(), target.first_object());
    [source.err(), target.err()].iter().flatten().all(|error| !error.is_retryable())
}
