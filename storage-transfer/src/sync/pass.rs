//! [`Pass`]: goes through a range of keys once: compares both listings, and copies what differs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use storage_core::{Error, ErrorKind, Result};
use tokio::task::{JoinError, JoinSet};

use crate::event::{KeyEvent, Outcome};
use crate::merge::{Pair, Side, Step};
use crate::steps::Steps;
use crate::sync::act::{self, Decision, Done, Settled};
use crate::sync::extras::Extras;
use crate::sync::shared::Shared;
use crate::sync::summary::{Counts, Ended};
use crate::sync::unknown::UnknownNames;
use crate::watermark::Watermark;

/// How many keys are a range: if a copy in it fails, none of its extras is deleted.
const RANGE: u64 = 1000;
/// How long an ended transfer waits for what is under way.
const GRACE: Duration = Duration::from_secs(8);

/// A pass in progress.
#[derive(Debug)]
pub(crate) struct Pass {
    shared: Arc<Shared>,
    pub(crate) counts: Counts,
    pub(crate) extras: Extras,
    pub(crate) unknown_source: UnknownNames,
    pub(crate) failed_ranges: BTreeSet<u64>,
    pub(crate) watermark: Arc<Watermark>,
    unknown_target: UnknownNames,
    pairs: u64,
    tasks: JoinSet<(u64, u64, Settled)>,
}

impl Pass {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            counts: Counts::default(),
            extras: Extras::new(),
            unknown_source: UnknownNames::default(),
            failed_ranges: BTreeSet::new(),
            watermark: Arc::default(),
            unknown_target: UnknownNames::default(),
            pairs: 0,
            tasks: JoinSet::new(),
        }
    }

    /// Handles all keys, until both listings end, one breaks off, or the transfer is ended.
    ///
    /// # Errors
    /// Fails if the list of extras cannot be written to a temporary file.
    pub(crate) async fn run(&mut self, mut steps: Steps) -> Result<Ended> {
        let shared = Arc::clone(&self.shared);
        let ended = loop {
            let has_room = self.tasks.len() < shared.gate.limit();
            tokio::select! {
                biased;
                () = shared.stop.stopped() => break Ended::Interrupted,
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.join(Some(done))?;
                }
                step = steps.next(), if has_room => match step {
                    Some(Step::Broken(side, error)) => break Ended::Broken(side, error),
                    Some(step) => self.step(step)?,
                    None => break Ended::Complete,
                },
            }
        };
        self.drain().await?;
        match shared.stop.is_stopped() && matches!(ended, Ended::Complete) {
            true => Ok(Ended::Interrupted),
            false => Ok(ended),
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

    fn join(&mut self, done: Option<Result<(u64, u64, Settled), JoinError>>) -> Result<()> {
        match done {
            Some(Ok((range, number, settled))) => self.count(range, number, &settled),
            Some(Err(error)) if error.is_panic() => {
                return Err(Error::unexpected("a task of the transfer panicked", error));
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Pair(pair) if self.shared.admits(pair.name()) => self.pair(pair),
            Step::Unknown(side, name, error) if self.shared.admits(&name) => {
                self.unknown(side, &name, &error);
                Ok(())
            }
            Step::Missing(name) => {
                self.counts.vanished += 1;
                let error = Error::new(ErrorKind::NotFound, "neither side has this key");
                let (key, outcome) = (name.as_str(), Outcome::Unknown);
                self.shared.emit(&KeyEvent { key, outcome, size: None, error: Some(&error) });
                Ok(())
            }
            Step::FolderMarker(Side::Source) => {
                self.counts.folder_markers += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn pair(&mut self, pair: Pair) -> Result<()> {
        let range = self.pairs / RANGE;
        self.pairs += 1;
        self.counts.source_objects += u64::from(pair.source.is_some());
        self.counts.target_objects += u64::from(pair.target.is_some());
        if let (None, Some(target)) = (&pair.source, &pair.target) {
            self.counts.extra += 1;
            if self.shared.options.delete.is_some() && !self.shared.options.dry_run {
                self.extras.push(pair.name(), range, target)?;
            } else {
                self.shared.emit_pair(&pair, Outcome::Extra);
            }
            self.watermark.pass(pair.name());
            return Ok(());
        }
        if pair.target.is_none() && self.unknown_target.contains(pair.name()) {
            self.fail(range, &pair);
            return Ok(());
        }
        match act::decide(&self.shared, &pair) {
            Decision::Same(evidence) => {
                self.counts.count_same(evidence);
                self.shared.emit_pair(&pair, Outcome::Same);
                self.watermark.pass(pair.name());
            }
            decision => {
                let number = self.watermark.begin(pair.name());
                let shared = Arc::clone(&self.shared);
                self.tasks.spawn(async move {
                    (range, number, act::settle(shared, pair, decision).await)
                });
            }
        }
        Ok(())
    }

    /// Counts a key that cannot be copied, because this part of the destination is unknown.
    fn fail(&mut self, range: u64, pair: &Pair) {
        let error = Error::new(
            ErrorKind::Conflict,
            "not copied, because this part of the destination could not be listed",
        );
        let size = pair.source.as_ref().map(|source| source.size);
        let (key, outcome) = (pair.name(), Outcome::Failed);
        self.shared.emit(&KeyEvent { key, outcome, size, error: Some(&error) });
        self.counts.failed += 1;
        self.failed_ranges.insert(range);
        self.watermark.pass(pair.name());
    }

    fn unknown(&mut self, side: Side, name: &str, error: &Error) {
        match side {
            Side::Source => self.unknown_source.insert(name),
            Side::Target => self.unknown_target.insert(name),
        }
        self.counts.unknown += 1;
        let event =
            KeyEvent { key: name, outcome: Outcome::Unknown, size: None, error: Some(error) };
        self.shared.emit(&event);
    }

    fn count(&mut self, range: u64, number: u64, settled: &Settled) {
        let counts = &mut self.counts;
        let size = settled.pair.source.as_ref().map_or(0, |source| source.size);
        match &settled.result {
            Done::Same(evidence) => counts.count_same(*evidence),
            Done::New => counts.new += 1,
            Done::Changed => counts.changed += 1,
            Done::Vanished => counts.vanished += 1,
            Done::Failed(_) => {
                counts.failed += 1;
                self.failed_ranges.insert(range);
            }
        }
        if matches!(settled.result, Done::New | Done::Changed) {
            counts.bytes += size;
        }
        counts.bytes_sent += settled.bytes_sent;
        counts.lost_metadata += u64::from(!settled.dropped.is_empty());
        self.watermark.finish(number);
    }
}
