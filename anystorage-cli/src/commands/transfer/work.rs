//! `transfer work`: a worker of a job.

use std::sync::Arc;

use anystorage::transfer::{KeyEvent, Outcome, Stop};
use anystorage::{Error, ErrorKind};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::progress::Progress;
use crate::resolver::{Purpose, Resolver};
use crate::syncing::job::{self, JobLocation};
use crate::syncing::options::LimitArgs;
use crate::syncing::sides::Sides;
use crate::syncing::summary::Rerun;

/// Work on a job until it is done
///
/// Takes shards that no other worker has, and waits for the others, in case one of them dies. Start
/// it any number of times: by hand, or by any engine that runs a command N times. The number of
/// a worker decides where it begins; a wrong one does no harm.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage transfer work --job state:jobs/media
  anystorage transfer work --job state:jobs/media --index $SLURM_ARRAY_TASK_ID --of 64
  seq 0 7 | parallel -j8 anystorage transfer work --job state:jobs/media --index {} --of 8

Exit codes: 0 nothing is left; 1 keys failed (anystorage transfer failed lists them), or a guard
refused to delete; 2 wrong usage or configuration; 75 interrupted, a service is unavailable, or
the plan is not complete yet: run again.")]
pub(crate) struct Args {
    #[command(flatten)]
    at: JobLocation,
    /// Which of the workers this one is, counted from 0
    #[arg(long, value_name = "I", default_value_t = 0)]
    index: u32,
    /// How many workers there are
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    of: u32,
    #[command(flatten)]
    limits: LimitArgs,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(
    args: Args,
    resolver: &mut Resolver,
    stop: &Stop,
) -> Result<ExitStatus, Failure> {
    let (at, job) = job::open(resolver, &args.at.job).await?;
    let spec = job.spec().await.map_err(|error| job::failure(&at, &error))?;
    let locations = (location(&spec.source)?, location(&spec.target)?);
    let sides = Sides::resolve(resolver, (&locations.0, &locations.1), Purpose::NewDirectory)?;
    let options = spec.options().map_err(|error| job::failure(&at, &error))?;
    let reason = options.delete.is_some().then_some(job::WOULD_DELETE);
    job::refuse_specials(&sides, &options.filter, reason).await?;
    let progress = Progress::keys();
    let work = job.work(&sides.from, &sides.to).index(args.index, args.of).stop(stop.clone());
    let mut work = job::limited(work, args.limits);
    if let Some(on_bytes) = progress.on_bytes() {
        work = work.on_bytes(on_bytes);
    }
    if let Some(on_activity) = progress.on_activity() {
        work = work.on_activity(on_activity);
    }
    let (counted, shown) = (progress.clone(), sides.clone());
    let summary = work.on_event(Arc::new(move |event| record(&counted, &shown, event))).await;
    progress.clear();
    let summary = summary.map_err(|error| Failure::of_engine(&sides, &error))?;
    let rerun = Rerun::Worker(at.to_string());
    job::report(&sides, summary, &options, (Ok(()), (0, 0)), rerun, args.json)
}

/// Prints a failure at once, because the log of an engine is read while it runs.
fn record(progress: &Progress, sides: &Sides, event: &KeyEvent<'_>) {
    progress.count_key(event.key, event.size);
    if let (Outcome::Failed, Some(error)) = (event.outcome, event.error) {
        progress.suspend(|| Failure::local(&sides.at(event.key), error).report());
    }
}

fn location(name: &str) -> Result<Location, Failure> {
    name.parse().map_err(|reason: String| {
        let error = Error::new(ErrorKind::InvalidConfig, reason);
        Failure::at(&name, &error)
    })
}
