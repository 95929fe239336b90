//! `check`: compares two directories, and changes nothing.

use std::sync::Arc;

use anystorage::transfer::{self, CheckBy, Filter, Stop, Verdict, VerdictCounts, VerdictEvent};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::resolver::{Purpose, Resolver, Setup};
use crate::syncing::filters::FilterArgs;
use crate::syncing::keys::KeyArgs;
use crate::syncing::recorder::{Item, RecordArgs, Recorder};
use crate::syncing::sides::{OrderArgs, Sides};
use crate::syncing::specials::{self, Specials};
use crate::syncing::summary::CheckResult;

/// Compare two directories, and change nothing
///
/// Prints a line for each key that is not certainly the same on both sides: + missing from the
/// destination, * different, - only in the destination, ? unknown. By default only metadata is
/// compared: sizes, ETags of S3, and checksums that both sides have stored. Objects of one size for
/// which that is not enough are unknown.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage check media: backup:media              compare by metadata
  anystorage check --checksum media: backup:media   read objects without a stored checksum
  anystorage check --download media: backup:media   read all objects of both sides

Filters are those of sync: see anystorage sync --help. Exit codes: 0 only if all keys are the same;
1 some keys differ or are unknown; 2 wrong usage or configuration; 75 interrupted, or a service is
unavailable: run again.")]
pub(crate) struct Args {
    /// Compare checksums; an object whose checksum is not stored is read
    #[arg(long, conflicts_with = "download")]
    checksum: bool,
    /// Read the objects of both sides, also those with stored checksums
    #[arg(long)]
    download: bool,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// With a local source: skip symlinks and special files, which are unknown otherwise
    #[arg(long)]
    skip_links: bool,
    /// How many objects to compare at a time
    #[arg(
        long,
        value_name = "N",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    concurrency: u16,
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    records: RecordArgs,
    /// Print the result as one JSON object, and no line for each key
    #[arg(long)]
    json: bool,
    /// The directory to compare with: NAME:PREFIX, a URL or a local path
    #[arg(value_name = "SRC")]
    source: Location,
    /// The directory to check
    #[arg(value_name = "DST")]
    target: Location,
}

pub(crate) async fn run(args: Args, setup: Setup, stop: &Stop) -> Result<ExitStatus, Failure> {
    let mut resolver = Resolver::new(setup)?;
    let locations = (&args.source, &args.target);
    let sides = Sides::resolve(&mut resolver, locations, Purpose::Existing)?;
    let sides = sides.with_unsorted(&args.order.unsorted);
    let filter = args.filters.build()?;
    args.records.refuse_inside(&sides, &filter)?;
    let read_files: Vec<_> = args.keys.file().into_iter().chain(args.filters.files()).collect();
    let recorder = Recorder::new(&sides, &args.records, &read_files, stop)?;
    let keys = args.keys.read(&recorder, stop).await?;
    let (shared, skips) = (Arc::clone(&recorder), args.skip_links);
    let keys = keys.map(|keys| {
        specials::out_of_list(keys, &sides, &filter, move |found| match found {
            Ok(special) if !skips => shared.special('?', special, "compared"),
            Ok(_) => {}
            Err(unsearched) => shared.unsearched(unsearched, "nothing here was compared"),
        })
    });
    let filter = args.without_unsearched(&sides, filter, (&recorder, stop)).await?;
    let (by, compared) = args.by();
    let mut check = transfer::check(&sides.from, &sides.to)
        .by(by)
        .filter(filter)
        .concurrency(usize::from(args.concurrency))
        .stop(stop.clone());
    if let Some(keys) = keys {
        check = check.keys(keys);
    }
    let (shared, prints) = (Arc::clone(&recorder), !args.json);
    let outcome = check.on_verdict(Arc::new(move |event| record(&shared, event, prints))).await;
    let finished = recorder.finish();
    let summary = outcome.map_err(|error| Failure::of_engine(&sides, &error))?;
    let VerdictCounts { same, different, missing, unknown, .. } = summary.counts;
    if same + different + missing + unknown == 0
        && !args.keys.is_set()
        && let Some(mistake) = sides.mistake().await
    {
        return Err(mistake);
    }
    let own_failures = recorder.own_failures() + recorder.own_unknown();
    let result = CheckResult { sides: &sides, summary, compared, own_failures };
    result.report(finished, args.json)
}

impl Args {
    /// Reports the symlinks and special files of a local source. Returns a filter that leaves out
    /// what could not be searched for them.
    async fn without_unsearched(
        &self,
        sides: &Sides,
        filter: Filter,
        (recorder, stop): (&Recorder, &Stop),
    ) -> Result<Filter, Failure> {
        let is_searched = !self.skip_links && !self.keys.is_set();
        let Some(directory) = sides.local_source().filter(|_| is_searched) else {
            return Ok(filter);
        };
        let specials = Specials::find(directory, &filter, |found| match found {
            Ok(special) => recorder.special('?', special, "compared"),
            Err(unsearched) => recorder.unsearched(unsearched, "nothing here was compared"),
        });
        let specials = tokio::select! {
            specials = specials => specials,
            () = stop.stopped() => return Ok(filter),
        };
        let filter = specials.unsearched_excluded_from(&filter);
        filter.map_err(|error| Failure::usage(error.message()))
    }

    fn by(&self) -> (CheckBy, &'static str) {
        match (self.checksum, self.download) {
            (true, _) => (CheckBy::Checksum, "checksum"),
            (_, true) => (CheckBy::Download, "content"),
            _ => (CheckBy::Metadata, "metadata"),
        }
    }
}

fn record(recorder: &Recorder, event: &VerdictEvent<'_>, prints: bool) {
    let is_failed = event.verdict != Verdict::Same;
    recorder.record(&Item {
        symbol: event.verdict.symbol(),
        key: event.key,
        size: None,
        error: event.error,
        is_failed,
        is_printed: prints && is_failed,
    });
}
