//! `transfer`: jobs that any number of workers share.

mod control;
mod plan;
mod status;
mod work;

use anystorage::transfer::Stop;

use crate::exit::{ExitStatus, Failure};
use crate::resolver::{Resolver, Setup};

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
    // Only a worker ends in good order. The others are short.
    let short = async {
        match command {
            Command::Work(args) => return work::run(args, resolver, stop).await,
            Command::Plan(args) => plan::run(*args, resolver).await,
            Command::Status(args) => status::run(args, resolver).await,
            Command::Failed(args) => status::failed(args, resolver).await,
            Command::Resume(args) => control::resume(args, resolver).await,
            Command::Cancel(args) => control::cancel(args, resolver).await,
        }
    };
    short.await
}
