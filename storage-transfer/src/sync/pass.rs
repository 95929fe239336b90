//! [`Pass`]: goes through a range of keys once: compares both listings, and copies what differs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use storage_core::{Error, ErrorKind, Result};
use tokio::task::{JoinError, JoinSet};

use crate::event::{KeyEvent, Outcome};
use crate::ledger::{Entry, FailedKey, Ledger};
use crate::merge::{Pair, Side, Step};
use crate::sort::SortOptions;
use crate::spool::Spool;
use crate::steps::Steps;
use crate::sync::act::{self, Decision, Done, Settled};
use crate::sync::backlog::Backlog;
use crate::sync::extras::{Extra, ExtraStream};
use crate::sync::outage::Outage;
use crate::sync::shared::Shared;
use crate::sync::summary::{Counts, Ended};
use crate::sync::unknown::UnknownSides;

/// How many keys that extra objects block are copied after the deletions. Further ones fail.
const MAX_BLOCKED: usize = 1000;
/// How many keys are a range: if a copy in it fails, none of its extras is deleted.
const RANGE: u64 = 1000;
/// How long an ended transfer waits for what is under way.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What a task returns: the range of the key, its number in the ledger, and what it counts.
type Finished = (u64, Option<u64>, Counts, Settled);

/// A pass in progress.
pub(crate) struct Pass {
    shared: Arc<Shared>,
    pub(crate) counts: Counts,
    /// The extras of a run without a ledger.
    extras: Spool<Extra>,
    pub(crate) unknown_names: UnknownSides,
    pub(crate) failed_ranges: BTreeSet<u64>,
    /// Keys that an extra object blocks.
    blocked: Vec<(u64, Pair, Counts)>,
    /// Whether the extras were handled, so that a blocked key fails.
    is_last: bool,
    /// What a job stores. A run without a job has none.
    ledger: Option<Arc<Ledger>>,
    pairs: u64,
    backlog: Backlog,
    outage: Outage,
    tasks: JoinSet<Finished>,
}

impl Pass {
    /// Begins a pass. With a ledger, extras and failures go there.
    pub(crate) fn new(shared: &Arc<Shared>, ledger: Option<Arc<Ledger>>) -> Self {
        // The lines of a dry run are in the order of the keys.
        let has_backlog = ledger.is_none() && !shared.options.dry_run;
        let on_remaining = shared.on_remaining.clone().filter(|_| has_backlog);
        Self {
            shared: Arc::clone(shared),
            backlog: Backlog::new(on_remaining),
            counts: Counts::default(),
            extras: Spool::new(SortOptions::default()),
            unknown_names: UnknownSides::default(),
            failed_ranges: BTreeSet::new(),
            blocked: Vec::new(),
            is_last: false,
            ledger,
            pairs: 0,
            outage: Outage::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Settles keys that fail temporarily as long as both sides can be listed, however many there
    /// are.
    pub(crate) fn settle_all(&mut self) {
        self.outage.settles_all = true;
    }

    /// Returns whether both sides could be listed when the pass ended because of a service that is
    /// unavailable.
    pub(crate) fn have_responded(&self) -> bool {
        self.outage.have_responded
    }

    /// Handles all keys, until both listings end, one breaks off, a service is unavailable, or the
    /// transfer is ended.
    ///
    /// # Errors
    /// Fails if the list of extras cannot be written to a temporary file.
    pub(crate) async fn run(&mut self, mut steps: Steps) -> Result<Ended> {
        let (shared, ledger) = (Arc::clone(&self.shared), self.ledger.clone());
        let mut listed = None;
        let ended = loop {
            if let Some(ended) = self.outage(false).await {
                break ended;
            }
            let failed = self.outage.settleable();
            self.finish_all(failed);
            let limit = shared.gate.limit();
            self.begin_waiting(limit);
            if self.backlog.is_empty()
                && let Some(ended) = listed
            {
                break ended;
            }
            let is_full = ledger.as_ref().is_some_and(|ledger| ledger.is_full());
            let is_free = self.tasks.len() < limit || self.backlog.has_room();
            let has_room = listed.is_none() && is_free && !is_full;
            tokio::select! {
                biased;
                () = shared.stop.stopped() => break Ended::Interrupted,
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.join(Some(done))?;
                }
                () = room(ledger.as_deref()), if is_full => {}
                step = steps.next(), if has_room => match step {
                    Some(Step::Broken(side, error)) => listed = Some(Ended::Broken(side, error)),
                    Some(step) => self.step(step).await?,
                    None => {
                        self.backlog.report(self.tasks.len());
                        listed = Some(Ended::Complete);
                    }
                },
            }
        };
        self.drain().await?;
        match ended {
            Ended::Complete if shared.stop.is_stopped() => Ok(Ended::Interrupted),
            Ended::Complete => {
                if let Some(ended) = self.outage(true).await {
                    return Ok(ended);
                }
                let failed = self.outage.rest();
                self.finish_all(failed);
                Ok(Ended::Complete)
            }
            ended => Ok(ended),
        }
    }

    /// Returns how the pass ends if a service is unavailable, or if the transfer is ended.
    async fn outage(&mut self, is_end: bool) -> Option<Ended> {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            () = shared.stop.stopped() => Some(Ended::Interrupted),
            error = self.outage.certain((&shared.source, &shared.target), is_end) => {
                error.map(Ended::Unavailable)
            }
        }
    }

    /// Waits for the objects that are under way. If the transfer is ended, drops those that take
    /// too long.
    async fn drain(&mut self) -> Result<()> {
        let stop = self.shared.stop.clone();
        loop {
            tokio::select! {
                biased;
                done = self.tasks.join_next() => match done {
                    Some(done) => self.join(Some(done))?,
                    None => return Ok(()),
                },
                () = stop.stopped() => break,
            }
        }
        let deadline = tokio::time::Instant::now() + GRACE;
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
            self.join(Some(done))?;
        }
        self.tasks.shutdown().await;
        Ok(())
    }

    /// Returns the extras of a run without a ledger, if there are any.
    ///
    /// # Errors
    /// Fails if their temporary file cannot be written.
    pub(crate) async fn take_extras(&mut self) -> Result<Option<ExtraStream>> {
        let extras = std::mem::replace(&mut self.extras, Spool::new(SortOptions::default()));
        match extras.len() {
            0 => Ok(None),
            _ => extras.finish().await.map(Some),
        }
    }

    /// Returns whether the source has keys that extra objects block. They are not counted yet.
    pub(crate) fn has_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Copies the keys that extra objects blocked, after these objects were deleted or kept.
    ///
    /// # Errors
    /// Fails if a task panicked.
    pub(crate) async fn copy_blocked(&mut self) -> Result<()> {
        self.is_last = true;
        for (range, pair, counts) in std::mem::take(&mut self.blocked) {
            if self.shared.stop.is_stopped() {
                break;
            }
            while self.tasks.len() >= self.shared.gate.limit() {
                let done = self.tasks.join_next().await;
                self.join(done)?;
            }
            self.begin(range, pair, Decision::Copy, counts);
        }
        self.drain().await
    }

    /// Returns how many keys failed temporarily, so that another run may copy them.
    pub(crate) fn failed_temporarily(&self) -> u64 {
        self.outage.keys
    }

    fn join(&mut self, done: Option<Result<Finished, JoinError>>) -> Result<()> {
        match done {
            Some(Ok((range, number, counts, settled))) => {
                self.count(range, number, counts, settled);
            }
            Some(Err(error)) if error.is_panic() => {
                return Err(Error::unexpected("a task of the transfer panicked", error));
            }
            _ => {}
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Pair(pair) if self.shared.admits(pair.name()) => self.pair(pair).await,
            Step::Pair(pair) if self.shared.is_kept_out_by_backup(&pair) => {
                let counts = Counts::default();
                self.fail(
                    &pair,
                    counts,
                    "not copied, because the destination has its backups \
                    under this name: exclude it, or choose another backup directory",
                )
                .await
            }
            Step::Unknown(side, name, error) if self.shared.may_admit_at(&name, &error) => {
                self.unknown(side, &name, &error);
                if error.is_retryable() {
                    self.outage.add(None, Entry::default(), error);
                }
                Ok(())
            }
            Step::Missing(name) if self.shared.admits(&name) => {
                let error = Error::new(ErrorKind::NotFound, "neither side has this key");
                self.emit(&name, Outcome::Unknown, None, Some(&error));
                self.note(Counts { vanished: 1, ..Counts::default() }.into());
                Ok(())
            }
            Step::FolderMarker(Side::Source) => {
                self.note(Counts { folder_markers: 1, ..Counts::default() }.into());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn pair(&mut self, pair: Pair) -> Result<()> {
        let range = self.pairs / RANGE;
        self.pairs += 1;
        let mut counts = Counts {
            source_objects: u64::from(pair.source.is_some()),
            target_objects: u64::from(pair.target.is_some()),
            ..Counts::default()
        };
        if let (None, Some(target)) = (&pair.source, &pair.target) {
            counts.extra = 1;
            let deletes = self.shared.options.delete.is_some();
            if !deletes {
                self.shared.emit_pair(&pair, Outcome::Extra);
            }
            let extra = deletes.then(|| Extra::new(pair.name(), range, target));
            return self.settle(pair.name(), Entry { counts, extra, ..Entry::default() }).await;
        }
        if pair.target.is_none() && self.unknown_names.target.contains(pair.name()) {
            self.failed_ranges.insert(range);
            let message = "not copied, because this part of the destination could not be listed";
            return self.fail(&pair, counts, message).await;
        }
        match act::decide(&self.shared, &pair) {
            settled @ (Decision::Same(_) | Decision::Left) => {
                match settled {
                    Decision::Same(evidence) => counts.count_same(evidence),
                    _ => counts.left = 1,
                }
                self.outage.has_progress = true;
                self.shared.emit_pair(&pair, Outcome::Same);
                self.settle(pair.name(), counts.into()).await
            }
            // A job notes when each pair begins, in the order of the keys.
            decision if self.backlog.is_used() => {
                self.backlog.push((range, pair, decision, counts));
                Ok(())
            }
            decision => {
                self.begin(range, pair, decision, counts);
                Ok(())
            }
        }
    }

    /// Begins pairs that wait, while fewer than so many tasks are under way.
    fn begin_waiting(&mut self, limit: usize) {
        while self.tasks.len() < limit
            && let Some((range, pair, decision, counts)) = self.backlog.pop()
        {
            self.begin(range, pair, decision, counts);
        }
    }

    /// Handles a pair in a task of its own.
    fn begin(&mut self, range: u64, pair: Pair, decision: Decision, counts: Counts) {
        // Without a ledger the sums need not wait for the task.
        let number = self.ledger.as_ref().map(|ledger| ledger.begin(pair.name()));
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            (range, number, counts, act::settle(shared, pair, decision).await)
        });
    }

    /// Counts a key that cannot be copied for this reason.
    async fn fail(&mut self, pair: &Pair, mut counts: Counts, message: &'static str) -> Result<()> {
        let error = Error::new(ErrorKind::Conflict, message);
        let size = pair.source.as_ref().map(|source| source.size);
        self.emit(pair.name(), Outcome::Failed, size, Some(&error));
        counts.failed = 1;
        let failed = Some(FailedKey::new(pair.name(), &error));
        self.settle(pair.name(), Entry { counts, failed, ..Entry::default() }).await
    }

    fn unknown(&mut self, side: Side, name: &str, error: &Error) {
        self.unknown_names.insert(side, name, error);
        let counts = Counts { unknown: 1, ..Counts::default() };
        self.counts += counts;
        let failed = FailedKey { unknown: true, ..FailedKey::new(name, error) };
        let entry = Entry { counts, failed: Some(failed), ..Entry::default() };
        let id = format!("{} {name}", if side == Side::Source { "source" } else { "target" });
        // A listing that begins inside a directory that cannot be read reports it again.
        let is_first = self.ledger.as_ref().is_none_or(|ledger| ledger.note_unknown(id, entry));
        if is_first {
            self.emit(name, Outcome::Unknown, None, Some(error));
        }
    }

    fn emit(&self, key: &str, outcome: Outcome, size: Option<u64>, error: Option<&Error>) {
        self.shared.emit(&KeyEvent { key, outcome, size, error });
    }

    /// Counts a key that needs no task.
    async fn settle(&mut self, name: &str, entry: Entry) -> Result<()> {
        self.counts += entry.counts;
        match (&self.ledger, entry.extra) {
            (Some(ledger), extra) => {
                ledger.pass(name, Entry { extra, ..entry });
                Ok(())
            }
            (None, Some(extra)) => self.extras.push(&extra).await,
            (None, None) => Ok(()),
        }
    }

    /// Counts what is not a key of its own.
    fn note(&mut self, entry: Entry) {
        self.counts += entry.counts;
        if let Some(ledger) = &self.ledger {
            ledger.note(entry);
        }
    }

    fn count(&mut self, range: u64, number: Option<u64>, mut counts: Counts, settled: Settled) {
        let size = settled.pair.source.as_ref().map_or(0, |source| source.size);
        self.backlog.finished(&settled.pair);
        let mut failed = None;
        let mut temporary = None;
        match settled.result {
            Done::Same(evidence) => counts.count_same(evidence),
            Done::Left => counts.left += 1,
            Done::New => counts.new += 1,
            Done::Changed => counts.changed += 1,
            Done::Vanished => counts.vanished += 1,
            Done::Blocked(_) if !self.is_last && self.blocked.len() < MAX_BLOCKED => {
                self.blocked.push((range, settled.pair, counts));
                return;
            }
            Done::Blocked(error) => {
                self.emit(settled.pair.name(), Outcome::Failed, Some(size), Some(&error));
                self.failed_ranges.insert(range);
                counts.failed += 1;
            }
            Done::Failed(error) => {
                counts.failed += 1;
                self.failed_ranges.insert(range);
                failed = Some(FailedKey::new(settled.pair.name(), &error));
                temporary = Some(error).filter(Error::is_retryable);
            }
        }
        if counts.new + counts.changed > 0 {
            counts.bytes = size;
        }
        counts.bytes_sent = settled.bytes_sent;
        counts.lost_metadata = u64::from(!settled.dropped.is_empty());
        self.counts += counts;
        let entry = Entry { counts, failed, ..Entry::default() };
        match temporary {
            Some(error) => self.outage.add(number, entry, error),
            None => {
                let failed = self.outage.end();
                self.finish_all(failed);
                self.finish(number, entry);
            }
        }
    }

    /// Settles keys that failed temporarily.
    fn finish_all(&self, failed: Vec<(Option<u64>, Entry)>) {
        for (number, entry) in failed {
            self.finish(number, entry);
        }
    }

    fn finish(&self, number: Option<u64>, entry: Entry) {
        if let (Some(ledger), Some(number)) = (&self.ledger, number) {
            ledger.finish(number, entry);
        }
    }
}

/// Waits until a ledger has room for more records.
async fn room(ledger: Option<&Ledger>) {
    if let Some(ledger) = ledger {
        ledger.room().await;
    }
}
