//! `transfer resume` and `transfer cancel`: continue and end a job.

use crate::exit::{ExitStatus, Failure};
use crate::resolver::Resolver;
use crate::syncing::job::{self, JobLocation};

/// Continue a job that was cancelled, or begin a new pass of one that is done
///
/// Of a job that is done, the shards with failures are opened again; without failures, all shards
/// are: a new pass finds what has changed since. Start workers afterwards.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    at: JobLocation,
}

/// End a job: its workers stop when they store their state the next time
///
/// What was copied stays. `anystorage transfer resume` continues the job.
#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    at: JobLocation,
}

pub(crate) async fn resume(
    args: ResumeArgs,
    resolver: &mut Resolver,
) -> Result<ExitStatus, Failure> {
    let (at, job) = job::open(resolver, &args.at.job).await?;
    job.resume().await.map_err(|error| job::failure(&at, &error))?;
    Ok(ExitStatus::Success)
}

pub(crate) async fn cancel(
    args: CancelArgs,
    resolver: &mut Resolver,
) -> Result<ExitStatus, Failure> {
    let (at, job) = job::open(resolver, &args.at.job).await?;
    job.cancel().await.map_err(|error| job::failure(&at, &error))?;
    Ok(ExitStatus::Success)
}
