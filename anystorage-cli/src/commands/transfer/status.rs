//! `transfer status` and `transfer failed`: the state of a job, and its failures.

use anystorage::transfer::{JobStatus, ShardState};
use serde_json::json;

use crate::exit::{ExitStatus, Failure};
use crate::output::Output;
use crate::resolver::Resolver;
use crate::sizes;
use crate::syncing::job::{self, JobLocation};

/// Show the state of a job
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: JobLocation,
    /// Show each shard, too
    #[arg(short, long)]
    long: bool,
    /// Print one JSON object, with all shards
    #[arg(long)]
    json: bool,
}

/// Print the keys that failed in the last pass, one JSON object on each line: key, error
///
/// `anystorage sync --keys-from` reads them. `anystorage transfer resume` makes the workers try
/// their shards again.
#[derive(Debug, clap::Args)]
pub(crate) struct FailedArgs {
    #[command(flatten)]
    at: JobLocation,
}

pub(crate) async fn run(args: Args, resolver: &mut Resolver) -> Result<ExitStatus, Failure> {
    let (at, job) = job::open(resolver, &args.at.job).await?;
    let status = job.status().await.map_err(|error| job::failure(&at, &error))?;
    let mut output = Output::new();
    if args.json {
        output.json(&json!(status))?;
    } else {
        print(&mut output, &status, args.long)?;
    }
    output.flush()?;
    Ok(ExitStatus::Success)
}

fn print(output: &mut Output, status: &JobStatus, long: bool) -> Result<(), Failure> {
    let JobStatus { source, target, pass, counts, shards, .. } = status;
    let state = json!(status.state);
    let settled = shards.iter().filter(|shard| shard.state != ShardState::Open).count();
    let claimed = shards.iter().filter(|shard| shard.is_claimed).count();
    output.line(&format!("{source} -> {target}"))?;
    output.line(&format!("state: {}, pass {pass}", state.as_str().unwrap_or_default()))?;
    output.line(&format!("shards: {settled} of {} settled, {claimed} claimed", shards.len()))?;
    output.line(&format!(
        "objects: {} compared, {} new, {} changed ({}), {} same, {} extra, {} deleted",
        counts.source_objects,
        counts.new,
        counts.changed,
        sizes::human(counts.bytes),
        counts.same,
        counts.extra,
        counts.deleted
    ))?;
    output.line(&format!(
        "failed: {}, unknown: {}, kept: {}",
        counts.failed, counts.unknown, counts.kept
    ))?;
    for shard in shards.iter().filter(|_| long) {
        let state = json!(shard.state);
        let until = shard.until.as_deref().unwrap_or("the end");
        let at = shard.watermark.as_deref().unwrap_or("its begin");
        let claimed = if shard.is_claimed { ", claimed" } else { "" };
        output.line(&format!(
            "{} {}{claimed}: at {at}, until {until}",
            shard.id,
            state.as_str().unwrap_or_default()
        ))?;
    }
    Ok(())
}

pub(crate) async fn failed(
    args: FailedArgs,
    resolver: &mut Resolver,
) -> Result<ExitStatus, Failure> {
    let (at, job) = job::open(resolver, &args.at.job).await?;
    let mut output = Output::new();
    let mut written = Ok(());
    let read = job.failed(|key| {
        if written.is_ok() {
            written = output.json(&json!(key));
        }
    });
    read.await.map_err(|error| job::failure(&at, &error))?;
    written?;
    output.flush()?;
    Ok(ExitStatus::Success)
}
