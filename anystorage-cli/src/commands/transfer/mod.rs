//! `transfer`: jobs that any number of workers share.

mod control;
mod plan;
mod status;
mod work;

use anystorage::transfer::Stop;
use futures_util::FutureExt;

use crate::exit::{ExitStatus, Failure};
use crate::resolver::{Resolver, Setup};
use crate::signals::unless_stopped;

/// Transfer a large directory with any number of workers, of which any may die
///
/// The state of a job is in a storage. `plan` divides the source into shards; `work`, started any
/// number of times on any machines, does them. A worker that dies is replaced by another. `sync
/// --job` is the same with one worker.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Plan(Box<plan::Args>),
    Work(work::Args),
    Status(status::Args),
    Failed(status::FailedArgs),
    Resume(control::ResumeArgs),
    Cancel(control::CancelArgs),
}

pub(crate) async fn run(
    command: Command,
    setup: Setup,
    stop: &Stop,
) -> Result<ExitStatus, Failure> {
    let mut resolver = Resolver::new(setup)?;
    let resolver = &mut resolver;
    let short = match command {
        // A worker ends in good order.
        Command::Work(args) => return work::run(args, resolver, stop).await,
        Command::Plan(args) => plan::run(*args, resolver).boxed_local(),
        Command::Status(args) => status::run(args, resolver).boxed_local(),
        Command::Failed(args) => status::failed(args, resolver).boxed_local(),
        Command::Resume(args) => control::resume(args, resolver).boxed_local(),
        Command::Cancel(args) => control::cancel(args, resolver).boxed_local(),
    };
    unless_stopped(stop, short).await
}
