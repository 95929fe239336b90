//! What `sync --job` and the commands of `transfer` share: finding a job, its names, its limits,
//! and its result.

use std::path::Path;
use std::time::Duration;

use anystorage::config::duration;
use anystorage::transfer::{
    Bandwidth, Directory, Filter, Job, JobSpec, Side, SyncOptions, Work, WorkEnded, WorkSummary,
    server_side,
};
use anystorage::{Error, ErrorKind};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::place::Place;
use crate::resolver::{Purpose, Resolver};
use crate::syncing::options::LimitArgs;
use crate::syncing::sides::Sides;
use crate::syncing::specials::Specials;
use crate::syncing::summary::SyncResult;
use crate::verbosity;

/// The shards of a sync with one worker. A failed copy keeps the extras of its shard.
pub(crate) const SHARDS_OF_SYNC: usize = 16;

/// Where a job is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobLocation {
    /// The directory with the state of the job: NAME:PREFIX, a URL or a local path
    #[arg(long, value_name = "LOC")]
    pub(crate) job: Location,
}

/// The options of a job that are no part of what is transferred.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct JobArgs {
    /// How long a part of the job belongs to a worker that no longer stores its state; kept in the
    /// job, which never shortens it [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = lease)]
    lease: Option<Duration>,
}

impl JobArgs {
    pub(crate) fn apply(self, spec: JobSpec) -> JobSpec {
        match self.lease {
            Some(lease) => spec.lease(lease),
            None => spec,
        }
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    match duration::parse(text).ok_or("write a time as in 90s or 2m")? {
        lease if lease < Duration::from_millis(500) => Err("write at least 500ms".to_owned()),
        lease => Ok(lease),
    }
}

/// Finds the directory of a job.
pub(crate) fn directory(resolver: &mut Resolver, location: &Location) -> Result<Place, Failure> {
    let place = resolver.resolve(location, Purpose::NewDirectory)?.directory()?;
    match &*place.storage.info().name {
        "memory" => Err(Failure::usage(format!(
            "{place}: the state of a job must outlive this process: name another storage"
        ))),
        _ => Ok(place),
    }
}

/// Returns the directory as the engine needs it.
pub(crate) fn at(place: &Place) -> Result<Directory, Failure> {
    Directory::new(&place.storage, &place.text).map_err(|error| place.failure(&error))
}

/// Opens a job.
pub(crate) async fn open(
    resolver: &mut Resolver,
    location: &Location,
) -> Result<(Place, Job), Failure> {
    let place = directory(resolver, location)?;
    let job = Job::open(&at(&place)?).await;
    let job = job.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!(
            "{place}: there is no job here; anystorage transfer plan makes one"
        )),
        _ => failure(&place, &error),
    })?;
    Ok((place, job))
}

/// Returns the failure of an error of a job's documents. Another specification is wrong usage.
pub(crate) fn failure(place: &Place, error: &Error) -> Failure {
    let failure = place.failure(error);
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::Unsupported => failure.with_exit(ExitStatus::Usage),
        _ if error.is_retryable() => failure.with_exit(ExitStatus::RunAgain),
        _ => failure,
    }
}

/// Creates a job, or opens the one of the same specification. Prints what a plan warns about.
pub(crate) async fn plan(
    place: &Place,
    spec: JobSpec,
    sides: &Sides,
    shards: usize,
    borders: Option<Vec<String>>,
) -> Result<Job, Failure> {
    let at = at(place)?;
    refuse_inside(place, sides)?;
    let both = (&sides.from, &sides.to);
    let warnings = Job::warnings(both.0, both.1).await;
    for (side, warning) in warnings.map_err(|error| failure(&sides.source, &error))? {
        let place = if side == Side::Source { &sides.source } else { &sides.target };
        verbosity::note(&format!("{place}: {warning}"));
    }
    let job = match borders {
        Some(borders) => Job::plan_with_borders(&at, spec, both, borders).await,
        None => Job::plan(&at, spec, both, shards).await,
    };
    job.map_err(|error| failure(place, &error))
}

/// Fails if the documents of the job would be copied or deleted by it.
fn refuse_inside(place: &Place, sides: &Sides) -> Result<(), Failure> {
    for side in [&sides.source, &sides.target] {
        if crate::compare::path_below(side, place).is_some() {
            return Err(Failure::usage(format!(
                "{place}: the state of a job cannot be below {side}, which it transfers"
            )));
        }
    }
    Ok(())
}

/// Returns the name by which any worker finds a directory. A local path is absolute.
pub(crate) fn name(place: &Place) -> String {
    if place.local {
        let path = Path::new(&place.storage.info().location).join(&place.text);
        let absolute = std::path::absolute(&path).unwrap_or(path);
        return absolute.display().to_string();
    }
    place.to_string()
}

/// Fails if a local source has symlinks or special files and extras are deleted: they are no
/// objects, so what the destination has under their names would be deleted.
pub(crate) async fn refuse_specials(
    sides: &Sides,
    filter: &Filter,
    deletes: bool,
) -> Result<(), Failure> {
    let Some(directory) = sides.local_source().filter(|_| deletes) else { return Ok(()) };
    let mut first = None;
    Specials::find(directory, filter, |special| {
        first.get_or_insert_with(|| special.name.clone());
    })
    .await;
    match first {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!(
            "{}{name}: a symlink or special file: --exclude it, or a job with --delete would \
             delete what the destination has under its name",
            sides.source
        ))),
    }
}

/// Sets the limits of a worker.
pub(crate) fn limited(mut work: Work, limits: LimitArgs) -> Work {
    work = work.server_side(server_side());
    if let Some(bytes) = limits.bandwidth {
        work = work.bandwidth(Bandwidth::new(bytes));
    }
    if let Some(requests) = limits.requests {
        work = work.requests(requests);
    }
    match limits.concurrency() {
        Some(concurrency) => work.concurrency(concurrency),
        None => work,
    }
}

/// Prints the result of a worker, and returns its exit code. `finished` is whether the files of the
/// options were written; the number is that of failures that the engine does not count.
pub(crate) fn report(
    sides: &Sides,
    summary: WorkSummary,
    options: &SyncOptions,
    (finished, own_failures): (Result<(), Failure>, u64),
    json: bool,
) -> Result<ExitStatus, Failure> {
    let is_cancelled = matches!(summary.ended, WorkEnded::Cancelled);
    let result = SyncResult {
        sides,
        summary: summary.into(),
        comparison: options.comparison,
        existing: options.existing,
        deletes: options.delete.is_some(),
        dry_run: false,
        has_key_list: false,
        inventory: None,
        is_cancelled,
        records_failures: true,
        own_failures,
    };
    result.report(finished, json)
}
