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

    /// Returns the keys that failed, if as many of them have failed in a row as are remembered, and
    /// all are to be settled. The services are asked again before the next ones are settled.
    pub(crate) fn settleable(&mut self) -> Vec<(Option<u64>, Entry)> {
        if !(self.settles_all && self.have_responded && self.failed.len() >= CERTAIN) {
            return Vec::new();
        }
        self.have_responded = false;
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

#[cfg(test)]
mod tests {
    use storage_core::ErrorKind;

    use super::*;

    #[test]
    fn keys_that_fail_one_after_another_do_not_gather_if_all_are_settled() {
        let mut outage = Outage { settles_all: true, have_responded: true, ..Outage::default() };
        let fail = |outage: &mut Outage| {
            let error = Error::new(ErrorKind::Timeout, "no response");
            outage.add(None, Entry::default(), error);
        };
        (1..CERTAIN).for_each(|_| fail(&mut outage));
        assert!(outage.settleable().is_empty());
        fail(&mut outage);
        assert_eq!(outage.settleable().len(), CERTAIN);
        // The next ones wait until the services have responded again.
        (0..CERTAIN).for_each(|_| fail(&mut outage));
        assert!(outage.settleable().is_empty());
    }
}
