//! `sync`: makes a directory have what another one has.

use std::path::Path;
use std::sync::Arc;

use anystorage::ErrorKind;
use anystorage::transfer::{
    self, Bandwidth, Concurrency, Filter, JobSpec, KeyEvent, Outcome, Stop, Synchronize,
};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::resolver::{Purpose, Resolver, Setup};
use crate::signals::unless_stopped;
use crate::syncing::inventory::SourceInventory;
use crate::syncing::job::{self, JobArgs};
use crate::syncing::keys::{KeyArgs, SortedKeys};
use crate::syncing::options::{CompareBy, LimitArgs, OptionArgs};
use crate::syncing::recorder::{Item, RecordArgs, Recorder};
use crate::syncing::sides::{OrderArgs, Sides};
use crate::syncing::specials::{self, Specials};
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
  anystorage sync --inventory lists:media/daily/2026-11-06T01-00Z/manifest.json media: backup:

Filters have the syntax of .gitignore; without a match, the first rule decides: if it is --include,
the key is left out. Exit codes: 0 done; 1 some keys failed or a guard refused to delete; 2 wrong
usage or configuration; 75 interrupted, or a service is unavailable: run again.")]
pub(crate) struct Args {
    /// Print what the command would do, one line for each key (+ new, * changed, - deleted), and
    /// change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    what: OptionArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Take the objects of the source from an S3 Inventory in place of its listing, for a first
    /// copy: the location of its manifest.json. Each object is copied as it is now. An inventory is
    /// old, so it never decides what to delete
    #[arg(long, value_name = "LOC", conflicts_with_all = ["delete", "keys_from", "job"])]
    inventory: Option<Location>,
    /// With a local source: skip symlinks and special files without an error
    #[arg(long)]
    skip_links: bool,
    #[command(flatten)]
    job: SyncJobArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    order: OrderArgs,
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

/// The options for a sync whose state is stored.
#[derive(Debug, Clone, clap::Args)]
struct SyncJobArgs {
    /// Store the state of the run in this directory, so that the same command continues a run that
    /// was killed, also within a large file; after a complete run it begins a new one
    #[arg(long, value_name = "LOC", conflicts_with_all = ["dry_run", "keys_from", "unsorted"])]
    job: Option<Location>,
    #[command(flatten)]
    lease: JobArgs,
}

pub(crate) async fn run(args: Args, setup: Setup, stop: &Stop) -> Result<ExitStatus, Failure> {
    let mut resolver = Resolver::new(setup)?;
    let locations = (&args.source, &args.target);
    let sides = Sides::resolve(&mut resolver, locations, Purpose::NewDirectory)?;
    let filter = args.what.filters.build()?;
    sides.refuse_overlap(&filter)?;
    sides.refuse_backup(args.what.backup.as_deref(), &filter)?;
    args.records.refuse_inside(&sides, &filter)?;
    if let Some(at) = &args.job.job {
        return run_job(&args, &mut resolver, &sides, (at, filter), stop).await;
    }
    let sides = sides.with_unsorted(&args.order.unsorted);
    let inventory = args.open_inventory(&mut resolver, &sides, stop).await?;
    let recorder = Recorder::new(&sides, &args.records, &args.read_files(), stop)?;
    let keys = args.keys.read(&recorder, stop).await?;
    let keys = keys.map(|keys| args.keys_without_specials(keys, &sides, &filter, &recorder));
    let (filter, deletes) = args.without_specials(&sides, filter, (&recorder, stop)).await?;
    let mut sync = args.engine(&sides, filter, deletes);
    if let Some(keys) = keys {
        sync = sync.keys(keys);
    }
    if let Some(source) = &inventory {
        sync = sync.source_entries(source.inventory().entries());
    }
    let outcome = args.observed(sync, &recorder).stop(stop.clone()).await;
    let finished = recorder.finish();
    let summary = outcome.map_err(|error| Failure::of_engine(&sides, &error))?;
    let has_source = args.keys.is_set() || inventory.is_some();
    if !has_source
        && summary.counts.source_objects == 0
        && let Some(mistake) = sides.mistake().await
    {
        return Err(mistake);
    }
    let result = SyncResult {
        sides: &sides,
        summary,
        comparison: args.what.comparison(),
        existing: args.what.existing(),
        deletes: args.what.delete,
        dry_run: args.dry_run,
        has_key_list: args.keys.is_set(),
        inventory: inventory.as_ref(),
        is_cancelled: false,
        rerun: args.records.rerun(),
        own_failures: recorder.own_failures(),
        own_unknown: recorder.own_unknown(),
    };
    result.report(finished, args.json)
}

/// Plans or continues the job of this sync, and works on it.
async fn run_job(
    args: &Args,
    resolver: &mut Resolver,
    sides: &Sides,
    (at, filter): (&Location, Filter),
    stop: &Stop,
) -> Result<ExitStatus, Failure> {
    let refused =
        job::refuse_specials(sides, &filter, args.what.delete.then_some(job::WOULD_DELETE));
    unless_stopped(stop, refused).await?;
    let reported = filter.clone();
    let at = job::directory(resolver, at)?;
    let options = args.what.options(filter, args.what.delete);
    let source = job::name(&args.source, &sides.source)?;
    let spec = JobSpec::new(&source, &job::name(&args.target, &sides.target)?, &options);
    let spec = args.job.lease.apply(spec);
    let planned = async {
        let job = job::plan(&at, spec, sides, job::SHARDS_OF_SYNC, None).await?;
        job.next_pass().await.map_err(|error| job::failure(&at, &error))?;
        Ok(job)
    };
    let job = unless_stopped(stop, planned).await?;
    let recorder = Recorder::new(sides, &args.records, &args.read_files(), stop)?;
    // With deletions, a source that has any was refused above.
    let reports = !args.skip_links && !args.what.delete;
    if let Some(directory) = sides.local_source().filter(|_| reports) {
        let report = |found: Result<&_, &_>| match found {
            Ok(special) => recorder.special('!', special, "copied"),
            // The workers list it, and copy what they can.
            Err(unsearched) => recorder.unsearched(unsearched, "symlinks are left out"),
        };
        tokio::select! {
            _ = Specials::find(directory, &reported, report) => {}
            () = stop.stopped() => {}
        }
    }
    let mut work = job::limited(job.work(&sides.from, &sides.to), args.limits).stop(stop.clone());
    if let Some(on_bytes) = recorder.progress.on_bytes() {
        work = work.on_bytes(on_bytes);
    }
    if let Some(on_activity) = recorder.progress.on_activity() {
        work = work.on_activity(on_activity);
    }
    let (observer, shared) = (args.observer(), Arc::clone(&recorder));
    let outcome = work.on_event(Arc::new(move |event| observer.record(&shared, event))).await;
    let finished = recorder.finish();
    let summary = outcome.map_err(|error| Failure::of_engine(sides, &error))?;
    let own = (recorder.own_failures(), recorder.own_unknown());
    job::report(sides, summary, &options, (finished, own), args.records.rerun(), args.json)
}

impl Args {
    /// Returns the files that the options read.
    fn read_files(&self) -> Vec<&Path> {
        self.keys.file().into_iter().chain(self.what.filters.files()).collect()
    }

    async fn open_inventory(
        &self,
        resolver: &mut Resolver,
        sides: &Sides,
        stop: &Stop,
    ) -> Result<Option<SourceInventory>, Failure> {
        let Some(manifest) = &self.inventory else { return Ok(None) };
        let opened = SourceInventory::open(resolver, manifest, sides);
        unless_stopped(stop, opened).await.map(Some)
    }

    /// Takes the symlinks and special files of a local source out of a list of keys, and reports
    /// them. What the destination has under their names is neither an extra nor deleted.
    fn keys_without_specials(
        &self,
        keys: SortedKeys,
        sides: &Sides,
        filter: &Filter,
        recorder: &Arc<Recorder>,
    ) -> SortedKeys {
        let (recorder, skips) = (Arc::clone(recorder), self.skip_links);
        specials::out_of_list(keys, sides, filter, move |found| match found {
            Ok(special) if !skips => recorder.special('!', special, "copied"),
            Ok(_) => {}
            Err(unsearched) => recorder.unsearched(unsearched, "not copied"),
        })
    }

    /// Reports the symlinks and special files of a local source, and what could not be searched for
    /// them. Returns a filter that leaves out their names, so that what the destination has there
    /// is not deleted, and whether anything may be deleted.
    async fn without_specials(
        &self,
        sides: &Sides,
        filter: Filter,
        (recorder, stop): (&Arc<Recorder>, &Stop),
    ) -> Result<(Filter, bool), Failure> {
        let reports = !self.skip_links && self.inventory.is_none();
        let is_searched = !self.keys.is_set() && (reports || self.what.delete);
        let Some(directory) = sides.local_source().filter(|_| is_searched) else {
            return Ok((filter, self.what.delete));
        };
        let specials = Specials::find(directory, &filter, |found| match found {
            Ok(special) if reports => recorder.special('!', special, "copied"),
            Ok(_) => {}
            Err(unsearched) => {
                recorder.unsearched(unsearched, "nothing here was copied or deleted");
            }
        });
        let specials = tokio::select! {
            specials = specials => specials,
            () = stop.stopped() => return Ok((filter, false)),
        };
        let is_complete = !specials.has_too_many && !specials.is_unknown;
        if self.what.delete && specials.has_too_many {
            let line = "the source has more than 1000 symlinks, special files or directories that \
                        cannot be read, so nothing is deleted: --exclude them";
            recorder.refuse(Failure::usage(format!("{}: {line}", sides.source)));
        }
        let filter = match self.what.delete && is_complete {
            true => specials.excluded_from(&filter),
            false => specials.unsearched_excluded_from(&filter),
        };
        let filter = filter.map_err(|error| Failure::usage(error.message()))?;
        Ok((filter, self.what.delete && is_complete))
    }

    /// Returns the sync with its options and limits.
    fn engine(&self, sides: &Sides, filter: Filter, deletes: bool) -> Synchronize {
        let mut options = self.what.options(filter, deletes);
        options.dry_run = self.dry_run;
        let sync = transfer::sync(&sides.from, &sides.to, options);
        let mut sync = sync.server_side(transfer::server_side());
        if let Some(bytes) = self.limits.bandwidth {
            sync = sync.bandwidth(Bandwidth::new(bytes));
        }
        if let Some(requests) = self.limits.requests {
            sync = sync.requests(requests);
        }
        match self.limits.concurrency {
            // The lines of a dry run are in the order of the keys, and it waits for no request.
            None if self.dry_run && self.what.compare != CompareBy::Checksum => {
                sync.concurrency(Concurrency::Fixed(1))
            }
            _ => match self.limits.concurrency() {
                Some(concurrency) => sync.concurrency(concurrency),
                None => sync,
            },
        }
    }

    fn observer(&self) -> Observer {
        Observer {
            prints: self.dry_run && !self.json,
            deletes: self.what.delete,
            dry_run: self.dry_run,
            has_key_list: self.keys.is_set(),
        }
    }

    fn observed(&self, mut sync: Synchronize, recorder: &Arc<Recorder>) -> Synchronize {
        if let Some(on_bytes) = recorder.progress.on_bytes() {
            sync = sync.on_bytes(on_bytes);
        }
        if let Some(on_activity) = recorder.progress.on_activity() {
            sync = sync.on_activity(on_activity);
        }
        if let Some(on_remaining) = recorder.progress.on_remaining() {
            sync = sync.on_remaining(on_remaining);
        }
        let recorder = Arc::clone(recorder);
        let observer = self.observer();
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
            // With an error it was kept, because a guard refused to delete.
            Outcome::Extra => (false, self.deletes && error.is_none()),
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
