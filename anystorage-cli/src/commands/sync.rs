//! `sync`: makes a directory have what another one has.

use std::path::PathBuf;
use std::sync::Arc;

use anystorage::transfer::{
    self, Bandwidth, Comparison, Concurrency, DeleteExtras, Existing, Filter, HeaderRule, KeyEvent,
    LostMetadata, MaxDelete, Outcome, Stop, SyncOptions, Synchronize,
};
use anystorage::{Error, ErrorKind, Key};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::resolver::{Purpose, Resolver};
use crate::sizes;
use crate::syncing::filters::FilterArgs;
use crate::syncing::keys::KeyArgs;
use crate::syncing::recorder::{Item, RecordArgs, Recorder};
use crate::syncing::sides::Sides;
use crate::syncing::specials::Specials;
use crate::syncing::summary::SyncResult;

/// Copy what a directory lacks or has differently, and with --delete remove what is extra
///
/// Compares the listings of two directories, with or without a slash at the end, and copies what is
/// missing or different, with metadata. By default objects of one size are the same if their ETags
/// are (between two S3 buckets), or if the source is not newer; the summary counts which comparison
/// was used. Nothing is deleted without --delete. One failure does not stop the rest. The command
/// can be repeated.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage sync media: backup:media                       copy what is missing or different
  anystorage sync -n --delete media: backup:media           show what would be copied and deleted
  anystorage sync --delete --max-delete 10% --backup old media: backup:media
  anystorage sync --include '*.png' --exclude 'tmp/' ./site s3://bucket/site
  anystorage sync --failed failed.jsonl media: backup:      record failed keys
  anystorage sync --keys-from failed.jsonl media: backup:   and handle them alone

Filters have the syntax of .gitignore; without a match, the first rule decides: if it is --include,
the key is left out. Exit codes: 0 done; 1 some keys failed or a guard refused to delete; 2 wrong
usage or configuration; 75 interrupted, or a service is unavailable: run again.")]
pub(crate) struct Args {
    /// Print what the command would do, one line for each key (+ new, * changed, - deleted), and
    /// change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Delete objects of the destination that the source lacks, after all copies
    #[arg(long)]
    delete: bool,
    /// Delete nothing if there are more extra objects than N, or P% of those of the destination
    #[arg(long, value_name = "N|P%", requires = "delete", value_parser = max_delete)]
    max_delete: Option<MaxDelete>,
    /// Move objects into this directory of the destination before they are replaced or deleted; it
    /// is not compared
    #[arg(long, value_name = "PREFIX", value_parser = backup)]
    backup: Option<String>,
    /// Delete although the source has no objects
    #[arg(long)]
    allow_empty_source: bool,
    /// How objects are compared: listing, size, mtime, etag or checksum
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "listing",
        hide_possible_values = true
    )]
    compare: CompareBy,
    #[command(flatten)]
    existing: ExistingArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Set a header of the copies of the keys that a pattern matches; may be repeated
    #[arg(long, value_name = "GLOB:NAME=VALUE", value_parser = header_rule)]
    set_header: Vec<HeaderRule>,
    /// What to do with metadata that the destination cannot keep: keep, which makes that key fail,
    /// or drop
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "keep",
        hide_possible_values = true
    )]
    metadata: LostBy,
    /// With a local source: skip symlinks and special files without an error
    #[arg(long)]
    skip_links: bool,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    records: RecordArgs,
    /// Print the summary as one JSON object, and no line for each key
    #[arg(long)]
    json: bool,
    /// The directory to copy from: NAME:PREFIX, a URL or a local path
    #[arg(value_name = "SRC")]
    source: Location,
    /// The directory to copy to
    #[arg(value_name = "DST")]
    target: Location,
}

/// What happens with objects that both sides have.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
struct ExistingArgs {
    /// Copy what is missing, and leave what exists as it is
    #[arg(long)]
    ignore_existing: bool,
    /// Leave objects of the destination that are newer than those of the source
    #[arg(long)]
    update: bool,
    /// Make objects that differ a failure, and leave them as they are
    #[arg(long)]
    immutable: bool,
}

impl ExistingArgs {
    fn existing(self) -> Existing {
        match (self.ignore_existing, self.update, self.immutable) {
            (true, _, _) => Existing::Ignore,
            (_, true, _) => Existing::Update,
            (_, _, true) => Existing::Immutable,
            _ => Existing::Replace,
        }
    }
}

/// How fast a sync may be.
#[derive(Debug, Clone, Copy, clap::Args)]
struct LimitArgs {
    /// The most bytes per second that pass through this command, as in 10MiB
    #[arg(long, value_name = "SIZE", value_parser = bandwidth)]
    bandwidth: Option<u64>,
    /// The most requests per second for objects
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How many objects to handle at a time; by default as many as the services keep up with
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CompareBy {
    Listing,
    Size,
    Mtime,
    Etag,
    Checksum,
}

impl CompareBy {
    fn comparison(self) -> Comparison {
        match self {
            Self::Listing => Comparison::Listing,
            Self::Size => Comparison::Size,
            Self::Mtime => Comparison::Mtime,
            Self::Etag => Comparison::ETag,
            Self::Checksum => Comparison::Checksum,
        }
    }
}

/// What happens with metadata that the destination cannot keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LostBy {
    /// The key fails.
    #[value(alias = "fail")]
    Keep,
    /// The copy lacks it. The other name is that of `cp`.
    #[value(alias = "drop-invalid")]
    Drop,
}

pub(crate) async fn run(
    args: Args,
    config: Option<PathBuf>,
    stop: &Stop,
) -> Result<ExitStatus, Failure> {
    let mut resolver = Resolver::new(config)?;
    let locations = (&args.source, &args.target);
    let sides = Sides::resolve(&mut resolver, locations, Purpose::NewDirectory)?;
    let filter = args.filters.build()?;
    sides.refuse_overlap(&filter)?;
    let recorder = Recorder::new(&sides, &args.records, &args.keys, stop)?;
    let keys = args.keys.read(&recorder, stop).await?;
    let (filter, deletes) = args.without_specials(&sides, filter, &recorder).await?;
    let mut sync = transfer::sync(&sides.from, &sides.to, args.options(filter, deletes));
    if let Some(keys) = keys {
        sync = sync.keys(keys);
    }
    let sync = args.observed(args.limited(sync), &recorder).stop(stop.clone());
    let outcome = sync.await;
    let finished = recorder.finish();
    let summary = outcome.map_err(|error| engine_failure(&sides, &error))?;
    let result = SyncResult {
        sides: &sides,
        summary,
        comparison: args.compare.comparison(),
        existing: args.existing.existing(),
        deletes: args.delete,
        dry_run: args.dry_run,
        has_key_list: args.keys.is_set(),
        records_failures: args.records.records_failures(),
        own_failures: recorder.own_failures(),
    };
    result.report(finished, args.json)
}

/// Returns the failure of an error that ended the engine.
pub(crate) fn engine_failure(sides: &Sides, error: &Error) -> Failure {
    let failure = Failure::at(sides, error);
    match error.is_retryable() {
        true => failure.with_exit(ExitStatus::RunAgain),
        false => failure,
    }
}

impl Args {
    /// Reports the symlinks and special files of a local source. Returns a filter that leaves out
    /// their names, so that what the destination has there is not deleted, and whether anything may
    /// be deleted.
    async fn without_specials(
        &self,
        sides: &Sides,
        filter: Filter,
        recorder: &Arc<Recorder>,
    ) -> Result<(Filter, bool), Failure> {
        let reports = !self.skip_links && !self.keys.is_set();
        let Some(directory) = sides.local_source().filter(|_| reports || self.delete) else {
            return Ok((filter, self.delete));
        };
        let specials = Specials::find(directory, &filter, |special| {
            if reports {
                recorder.special('!', special, "copied");
            }
        });
        let specials = specials.await;
        if !self.delete {
            return Ok((filter, false));
        }
        if specials.has_too_many {
            let line = "the source has more than 1000 symlinks and special files, so nothing is \
                        deleted: --exclude them";
            recorder.refuse(Failure::usage(format!("{}: {line}", sides.source)));
            return Ok((filter, false));
        }
        let filter = specials.exclude(self.filters.builder()?).build();
        Ok((filter.map_err(|error| Failure::usage(error.message()))?, true))
    }

    fn options(&self, filter: Filter, deletes: bool) -> SyncOptions {
        let mut options = SyncOptions::new();
        options.comparison = self.compare.comparison();
        options.existing = self.existing.existing();
        options.filter = filter;
        options.delete = deletes.then(|| match self.max_delete {
            Some(max) => DeleteExtras::new().max(max),
            None => DeleteExtras::new(),
        });
        options.backup.clone_from(&self.backup);
        options.headers.clone_from(&self.set_header);
        options.lost_metadata = match self.metadata {
            LostBy::Keep => LostMetadata::Fail,
            LostBy::Drop => LostMetadata::DropAndReport,
        };
        options.allow_empty_source = self.allow_empty_source;
        options.dry_run = self.dry_run;
        options
    }

    fn limited(&self, mut sync: Synchronize) -> Synchronize {
        if let Some(bytes) = self.limits.bandwidth {
            sync = sync.bandwidth(Bandwidth::new(bytes));
        }
        if let Some(requests) = self.limits.requests {
            sync = sync.requests(requests);
        }
        match self.limits.concurrency {
            // The lines of a dry run are in the order of the keys, and it waits for no request.
            None if self.dry_run && self.compare != CompareBy::Checksum => {
                sync.concurrency(Concurrency::Fixed(1))
            }
            Some(objects) => sync.concurrency(Concurrency::Fixed(usize::from(objects))),
            None => sync,
        }
    }

    fn observed(&self, mut sync: Synchronize, recorder: &Arc<Recorder>) -> Synchronize {
        if let Some(on_bytes) = recorder.progress.on_bytes() {
            sync = sync.on_bytes(on_bytes);
        }
        let recorder = Arc::clone(recorder);
        let observer = Observer {
            prints: self.dry_run && !self.json,
            deletes: self.delete,
            dry_run: self.dry_run,
            has_key_list: self.keys.is_set(),
        };
        sync.on_event(Arc::new(move |event| observer.record(&recorder, event)))
    }
}

/// Decides what is recorded about an event.
#[derive(Debug, Clone, Copy)]
struct Observer {
    prints: bool,
    deletes: bool,
    dry_run: bool,
    has_key_list: bool,
}

impl Observer {
    fn record(self, recorder: &Recorder, event: &KeyEvent<'_>) {
        let KeyEvent { key, outcome, size, error, .. } = *event;
        let is_gone = error.is_some_and(|error| error.kind() == ErrorKind::NotFound);
        let (is_failed, is_changed) = match outcome {
            Outcome::Failed => (true, false),
            // An object that was deleted during the run needs no other run.
            Outcome::Unknown => (self.has_key_list || !is_gone, false),
            Outcome::New | Outcome::Changed => (false, true),
            Outcome::Extra => (false, self.deletes),
            _ => (false, false),
        };
        if is_changed && !self.dry_run {
            let done = if outcome == Outcome::Extra { "deleted" } else { "copied" };
            tracing::info!("{done} {key}");
        }
        let is_printed = self.prints && is_changed;
        let symbol = outcome.symbol();
        recorder.record(&Item { symbol, key, size, error, is_failed, is_printed });
        if let Some(error) = error.filter(|_| !is_failed && is_changed) {
            recorder.dropped(key, error);
        }
    }
}

fn max_delete(text: &str) -> Result<MaxDelete, String> {
    let wrong = || "write a number, or a percentage from 0% to 100%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<u8>() {
            Ok(percent) if percent <= 100 => Ok(MaxDelete::Percent(percent)),
            _ => Err(wrong()),
        },
        None => text.parse().map(MaxDelete::Count).map_err(|_| wrong()),
    }
}

fn backup(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('/');
    Key::new(name).map(|key| key.to_string()).map_err(|error| error.message().to_owned())
}

fn bandwidth(text: &str) -> Result<u64, String> {
    match sizes::parse(text)? {
        0 => Err("write at least 1 byte per second".to_owned()),
        bytes => Ok(bytes),
    }
}

fn header_rule(text: &str) -> Result<HeaderRule, String> {
    let (pattern, name, value) = header_parts(text)
        .ok_or("write GLOB:NAME=VALUE, as in '*.css:Cache-Control=max-age=3600'")?;
    HeaderRule::new(pattern, name, value).map_err(|error| error.message().to_owned())
}

/// Splits `GLOB:NAME=VALUE`. The pattern ends at the first colon before a name and `=`.
fn header_parts(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.match_indices(':').find_map(|(colon, _)| {
        let (name, value) = text[colon + 1..].split_once('=')?;
        (colon > 0 && is_name(name)).then_some((&text[..colon], name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_deletions_is_a_number_or_a_percentage() {
        assert_eq!(max_delete("10"), Ok(MaxDelete::Count(10)));
        assert_eq!(max_delete("50%"), Ok(MaxDelete::Percent(50)));
        for wrong in ["", "%", "-1", "101%", "1.5%", "ten"] {
            assert!(max_delete(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_header_rule_ends_its_pattern_before_the_name() {
        for (text, parts) in [
            ("*.css:Cache-Control=max-age=3600", ("*.css", "Cache-Control", "max-age=3600")),
            ("a:b/*=x:x-amz-meta-k=v:w=x", ("a:b/*=x", "x-amz-meta-k", "v:w=x")),
            ("**:Content-Type=text/a; b=c", ("**", "Content-Type", "text/a; b=c")),
        ] {
            assert_eq!(header_parts(text), Some(parts));
            header_rule(text).unwrap();
        }
        for wrong in ["", "*.css", "*.css:Cache-Control", ":Cache-Control=x", "*:X-Odd=x", "*:=x"] {
            assert!(header_rule(wrong).is_err(), "{wrong}");
        }
    }
}
