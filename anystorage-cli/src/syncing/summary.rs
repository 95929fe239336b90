//! The result of a sync or a check: its text, its JSON, and the exit code.

use anystorage::ErrorKind;
use anystorage::transfer::{
    CheckSummary, Comparison, Counts, Ended, Existing, Refusal, Side, SyncSummary, VerdictCounts,
};
use serde_json::{Value, json};

use crate::exit::{ExitStatus, Failure};
use crate::output::Output;
use crate::sizes;
use crate::syncing::inventory::SourceInventory;
use crate::syncing::sides::Sides;
use crate::verbosity;

/// The result of a sync.
#[derive(Debug)]
pub(crate) struct SyncResult<'a> {
    pub(crate) sides: &'a Sides,
    pub(crate) summary: SyncSummary,
    pub(crate) comparison: Comparison,
    pub(crate) existing: Existing,
    pub(crate) deletes: bool,
    pub(crate) dry_run: bool,
    /// Whether each key was named by a list, so that it must exist.
    pub(crate) has_key_list: bool,
    /// The inventory that was read in place of the listing of the source.
    pub(crate) inventory: Option<&'a SourceInventory>,
    /// Whether the job was cancelled.
    pub(crate) is_cancelled: bool,
    pub(crate) rerun: Rerun,
    /// Failures that the engine does not count.
    pub(crate) own_failures: u64,
    /// Unknown names that the engine does not count.
    pub(crate) own_unknown: u64,
}

impl SyncResult<'_> {
    /// Prints the result, and returns the exit code. `finished` is whether standard output and the
    /// files of the options were written. A dry run whose reader has stopped reading is quiet.
    pub(crate) fn report(
        &self,
        finished: Result<(), Failure>,
        json: bool,
    ) -> Result<ExitStatus, Failure> {
        if finished.as_ref().is_err_and(Failure::is_output_closed) {
            return finished.map(|()| ExitStatus::Success);
        }
        self.print();
        let exit = self.exit();
        if let Some(failure) = self.failure() {
            failure.report();
        }
        finished?;
        if json {
            self.print_json(exit).map_err(|failure| failure.instead_of_success(exit))?;
        }
        Ok(exit)
    }

    fn failed(&self) -> u64 {
        self.summary.counts.failed.saturating_add(self.own_failures)
    }

    fn unknown(&self) -> u64 {
        self.summary.counts.unknown.saturating_add(self.own_unknown)
    }

    /// Returns the number of keys that need another run.
    fn unsettled(&self) -> u64 {
        let vanished = if self.has_key_list { self.summary.counts.vanished } else { 0 };
        let numbers = [self.failed(), self.unknown(), self.summary.counts.kept, vanished];
        numbers.into_iter().fold(0, u64::saturating_add)
    }

    fn exit(&self) -> ExitStatus {
        // To run again does not help.
        if self.is_cancelled {
            return ExitStatus::Failed;
        }
        if self.was_unavailable() {
            return ExitStatus::RunAgain;
        }
        let is_clean =
            self.summary.refused.is_none() && self.unsettled() == 0 && !self.lacks_every_object();
        exit(&self.summary.ended, is_clean)
    }

    /// Whether all keys that had to be copied or deleted failed temporarily.
    fn was_unavailable(&self) -> bool {
        let Counts { new, changed, deleted, .. } = self.summary.counts;
        let failed = self.summary.failed_temporarily;
        self.summary.refused.is_none()
            && failed > 0
            && failed == self.unsettled()
            && [new, changed, deleted] == [0; 3]
    }

    /// Whether the source has none of the objects of the inventory, so that it is probably that of
    /// another directory.
    fn lacks_every_object(&self) -> bool {
        let Counts { vanished, source_objects, .. } = self.summary.counts;
        self.inventory.is_some() && vanished > 0 && vanished == source_objects
    }

    /// Returns the failure that ended the run early or kept extras, if there is one.
    fn failure(&self) -> Option<Failure> {
        if self.is_cancelled {
            let line = "the job was cancelled; anystorage transfer resume continues it";
            return Some(Failure::usage(line).with_exit(ExitStatus::Failed));
        }
        if self.lacks_every_object() {
            let line = format!(
                "{}: the source has none of the objects of the inventory: choose that of its bucket",
                self.sides.source
            );
            return Some(Failure::usage(line).with_exit(ExitStatus::Failed));
        }
        match self.summary.refused {
            Some(refused) => Some(self.refusal(refused)),
            None => ended_failure(self.sides, &self.summary.ended, "; nothing was deleted"),
        }
    }

    fn refusal(&self, refused: Refusal) -> Failure {
        let Sides { source, target, .. } = self.sides;
        let line = match refused {
            Refusal::EmptySource => format!(
                "{source}: the source has no objects, so nothing was deleted from {target}; \
                 --allow-empty-source allows that"
            ),
            Refusal::TooManyExtras(extras) => format!(
                "{target}: {extras} objects would be deleted, which is more than --max-delete \
                 allows, so nothing was deleted"
            ),
            _ => format!("{target}: nothing was deleted"),
        };
        Failure::usage(line).with_exit(ExitStatus::Failed)
    }

    /// Prints what was done, as notes.
    fn print(&self) {
        verbosity::note(&self.line());
        if let Some(inventory) = self.inventory {
            let time = inventory.time().unwrap_or_else(|| "unknown time".to_owned());
            verbosity::note(&format!(
                "the inventory is of {time}: run again without --inventory for later changes"
            ));
        }
        if self.unsettled() > 0 && !self.dry_run {
            verbosity::note(&self.rerun.advice(matches!(self.summary.ended, Ended::Complete)));
        }
    }

    fn line(&self) -> String {
        let counts = &self.summary.counts;
        let would = if self.dry_run { "would be " } else { "" };
        let mut parts = vec![match (counts.new.saturating_add(counts.changed), counts.bytes) {
            (0, _) => format!("0 {would}copied"),
            (copied, bytes) => format!(
                "{copied} {would}copied ({} new, {} changed, {})",
                counts.new,
                counts.changed,
                sizes::human(bytes)
            ),
        }];
        match (self.deletes, self.dry_run) {
            (true, true) => {
                parts.push(format!("{} would be deleted", counts.extra - counts.kept));
            }
            (true, false) => parts.push(format!("{} deleted", counts.deleted)),
            _ if self.inventory.is_some() => {
                add(&mut parts, counts.extra, "not in the inventory");
            }
            _ => add(&mut parts, counts.extra, "only in the destination"),
        }
        parts.push(format!("{} same{}", counts.same, self.evidence()));
        let left = match self.existing {
            Existing::Update => "left as they are, because the destination has a newer one",
            _ => "left as they are, not compared",
        };
        add(&mut parts, counts.left, left);
        add(&mut parts, self.failed(), "failed");
        add(&mut parts, counts.kept, "extra but kept");
        add(&mut parts, self.unknown(), "unknown");
        let vanished = match (self.has_key_list, self.inventory) {
            (true, _) => "without an object",
            (_, Some(_)) => "deleted from the source since the inventory",
            _ => "deleted from the source during the run",
        };
        add(&mut parts, counts.vanished, vanished);
        add(&mut parts, counts.lost_metadata, "copied without a part of the metadata or checksums");
        add(&mut parts, counts.folder_markers, "folder markers skipped");
        parts.join(", ")
    }

    /// Returns by what objects are the same, and what that cannot see.
    fn evidence(&self) -> String {
        let Counts { same_by_etag, same_by_time, same_by_size, same_by_checksum, .. } =
            self.summary.counts;
        let mut parts = Vec::new();
        add(&mut parts, same_by_checksum, "by checksum");
        add(&mut parts, same_by_etag, "by ETag");
        add(&mut parts, same_by_time, "by size and time");
        add(&mut parts, same_by_size, "by size alone");
        let blind = match (same_by_size > 0, same_by_time > 0) {
            (true, _) => ": a change that kept the size is missed",
            (false, true) => {
                ": a change that kept the size is missed at the destination, and at the source if \
                 a clock is wrong"
            }
            _ => "",
        };
        match parts.is_empty() {
            true => String::new(),
            false => format!(" ({}{blind})", parts.join(", ")),
        }
    }

    /// Prints the result as one JSON object.
    fn print_json(&self, exit: ExitStatus) -> Result<(), Failure> {
        let counts = serde_json::to_value(self.summary.counts).unwrap_or_default();
        let refused = self.summary.refused.map(|refused| match refused {
            Refusal::EmptySource => "empty-source",
            Refusal::TooManyExtras(_) => "max-delete",
            _ => "other",
        });
        let mut object = json!({
            "source": self.sides.source.to_string(),
            "destination": self.sides.target.to_string(),
            "dry_run": self.dry_run,
            "compare": self.comparison,
            "ended": if self.is_cancelled { "cancelled" } else { ended_name(&self.summary.ended) },
            "refused": refused,
            "exit": exit as u8,
        });
        merge(&mut object, counts);
        object["failed"] = json!(self.failed());
        object["unknown"] = json!(self.unknown());
        if let Some(inventory) = self.inventory {
            object["inventory"] = inventory.json();
        }
        print_json(&object)
    }
}

/// How the keys that failed are handled another time.
#[derive(Debug)]
pub(crate) enum Rerun {
    /// The same command, which records the failures in no file.
    Unrecorded,
    /// The same command. A file contains the failures.
    Recorded,
    /// A worker of the job at this place. It leaves out shards that have ended.
    Worker(String),
}

impl Rerun {
    /// Returns what to do. `is_complete` is whether the run reached its end.
    fn advice(&self, is_complete: bool) -> String {
        match self {
            Self::Recorded => {
                "run again for the rest, or for the failed keys alone with --keys-from".to_owned()
            }
            Self::Unrecorded => {
                "run again for the rest; --failed FILE records these keys for --keys-from"
                    .to_owned()
            }
            Self::Worker(job) if is_complete => format!(
                "for the rest, anystorage transfer resume --job {job} opens these shards again, \
                 then start workers; anystorage transfer failed --job {job} lists the keys"
            ),
            Self::Worker(_) => "run again for the rest".to_owned(),
        }
    }
}

/// The result of a check.
#[derive(Debug)]
pub(crate) struct CheckResult<'a> {
    pub(crate) sides: &'a Sides,
    pub(crate) summary: CheckSummary,
    /// How objects were compared.
    pub(crate) compared: &'static str,
    /// Keys that are unknown and that the engine does not count.
    pub(crate) own_failures: u64,
}

impl CheckResult<'_> {
    /// Prints the result, and returns the exit code. `finished` is whether standard output and the
    /// files of the options were written.
    pub(crate) fn report(
        &self,
        finished: Result<(), Failure>,
        json: bool,
    ) -> Result<ExitStatus, Failure> {
        self.print();
        let exit = self.exit();
        if let Some(failure) = ended_failure(self.sides, &self.summary.ended, "") {
            failure.report();
        }
        // A check whose reader has stopped reading is not complete, so it must not succeed.
        finished.map_err(|failure| failure.instead_of_success(exit))?;
        if json {
            self.print_json(exit).map_err(|failure| failure.instead_of_success(exit))?;
        }
        Ok(exit)
    }

    fn exit(&self) -> ExitStatus {
        let VerdictCounts { different, missing, extra, unknown, .. } = self.summary.counts;
        exit(&self.summary.ended, different + missing + extra + unknown + self.own_failures == 0)
    }

    /// Prints the result as notes.
    fn print(&self) {
        let counts = &self.summary.counts;
        let mut parts = vec![format!("{} same by {}", counts.same, self.compared)];
        add(&mut parts, counts.different, "different");
        add(&mut parts, counts.missing, "missing from the destination");
        add(&mut parts, counts.extra, "only in the destination");
        add(&mut parts, counts.unknown + self.own_failures, "unknown");
        verbosity::note(&parts.join(", "));
        if counts.unknown > 0 && self.compared == "metadata" {
            verbosity::note("--checksum reads the objects that metadata cannot compare");
        }
    }

    /// Prints the result as one JSON object.
    fn print_json(&self, exit: ExitStatus) -> Result<(), Failure> {
        let mut object = json!({
            "source": self.sides.source.to_string(),
            "destination": self.sides.target.to_string(),
            "compare": self.compared,
            "ended": ended_name(&self.summary.ended),
            "exit": exit as u8,
        });
        merge(&mut object, serde_json::to_value(self.summary.counts).unwrap_or_default());
        object["unknown"] = json!(self.summary.counts.unknown + self.own_failures);
        print_json(&object)
    }
}

/// Adds a number with its name, unless it is 0.
fn add(parts: &mut Vec<String>, count: u64, name: &str) {
    if count > 0 {
        parts.push(format!("{count} {name}"));
    }
}

fn exit(ended: &Ended, is_clean: bool) -> ExitStatus {
    match ended {
        Ended::Complete if is_clean => ExitStatus::Success,
        Ended::Interrupted | Ended::Unavailable(_) => ExitStatus::RunAgain,
        Ended::Broken(_, error) if error.is_retryable() => ExitStatus::RunAgain,
        _ => ExitStatus::Failed,
    }
}

/// Returns the failure that ended a run early, if one did. `consequence` follows the description.
fn ended_failure(sides: &Sides, ended: &Ended, consequence: &str) -> Option<Failure> {
    match ended {
        Ended::Broken(side, error) => {
            let place = if *side == Side::Source { &sides.source } else { &sides.target };
            let hint = match error.kind() {
                ErrorKind::NotFound => "the listing failed",
                _ => "the listing broke off, so the rest was not handled",
            };
            Some(Failure::local(&format!("{place}: {hint}{consequence}"), error))
        }
        Ended::Unavailable(error) => {
            let hint = "a service is unavailable, so the rest was not handled";
            let places = format!("{} -> {}", sides.source, sides.target);
            Some(Failure::local(&format!("{places}: {hint}{consequence}; run again"), error))
        }
        Ended::Interrupted => Some(Failure::interrupted()),
        _ => None,
    }
}

fn ended_name(ended: &Ended) -> &'static str {
    match ended {
        Ended::Complete => "complete",
        Ended::Interrupted => "interrupted",
        Ended::Unavailable(_) => "unavailable",
        _ => "broken",
    }
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

fn print_json(object: &Value) -> Result<(), Failure> {
    let mut output = Output::new();
    output.json(object)?;
    output.flush()
}
