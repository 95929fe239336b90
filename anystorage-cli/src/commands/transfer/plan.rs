//! `transfer plan`: makes a job.

use anystorage::transfer::{Job, JobSpec};

use crate::exit::{ExitStatus, Failure};
use crate::location::Location;
use crate::output;
use crate::resolver::{Purpose, Resolver};
use crate::syncing::inventory::SourceInventory;
use crate::syncing::job::{self, JobArgs, JobLocation};
use crate::syncing::options::OptionArgs;
use crate::syncing::sides::Sides;

/// Make a job: divide the source into shards, and store what is to be done
///
/// Nothing is transferred. The same command again finds the same job; other options or directories
/// need another place. The state contains the names of both directories, which are absolute for
/// local paths, and no credentials: each worker finds its storages by its own configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  anystorage transfer plan --job state:jobs/media --shards 64 media: archive:media
  anystorage transfer work --job state:jobs/media            on each of many machines

The shards have about the same number of objects. Plan 10 to 50 for each worker. Exit codes: those
of sync.")]
pub(crate) struct Args {
    #[command(flatten)]
    at: JobLocation,
    /// How many shards to make at most, up to 10000
    #[arg(long, value_name = "N", default_value_t = 16)]
    shards: usize,
    /// Find the borders of the shards in an S3 Inventory, instead of probing the listing: the
    /// location of its manifest.json
    #[arg(long, value_name = "LOC")]
    inventory: Option<Location>,
    /// With a local source: leave out symlinks and special files, which are refused otherwise
    #[arg(long)]
    skip_links: bool,
    #[command(flatten)]
    lease: JobArgs,
    #[command(flatten)]
    what: OptionArgs,
    /// The directory to copy from
    #[arg(value_name = "SRC")]
    source: Location,
    /// The directory to copy to
    #[arg(value_name = "DST")]
    target: Location,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let locations = (&args.source, &args.target);
    let sides = Sides::resolve(resolver, locations, Purpose::NewDirectory)?;
    let filter = args.what.filters.build()?;
    sides.refuse_overlap(&filter)?;
    sides.refuse_backup(args.what.backup.as_deref(), &filter)?;
    let reason = match (args.what.delete, args.skip_links) {
        (true, _) => Some(job::WOULD_DELETE),
        (false, false) => Some(job::WOULD_LEAVE_OUT),
        (false, true) => None,
    };
    job::refuse_specials(&sides, &filter, reason).await?;
    let at = job::directory(resolver, &args.at.job)?;
    let options = args.what.options(filter, args.what.delete);
    let source = job::name(&args.source, &sides.source)?;
    let spec = JobSpec::new(&source, &job::name(&args.target, &sides.target)?, &options);
    let spec = args.lease.apply(spec);
    if !(1..=Job::MAX_SHARDS).contains(&args.shards) {
        let message = format!("{} shards: choose 1 to {}", args.shards, Job::MAX_SHARDS);
        return Err(Failure::usage(message));
    }
    let borders = match &args.inventory {
        Some(manifest) => {
            let inventory = SourceInventory::open(resolver, manifest, &sides).await?;
            Some(inventory.borders(&sides, args.shards).await?)
        }
        None => None,
    };
    let job = job::plan(&at, spec, &sides, args.shards, borders).await?;
    let status = job.status().await.map_err(|error| job::failure(&at, &error))?;
    output::print(&format!("{at}: {} shards", status.shards.len()))?;
    Ok(ExitStatus::Success)
}
