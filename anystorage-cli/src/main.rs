//! The `anystorage` command: list, copy and link to files in any storage.

mod cli;
mod commands;
mod copy;
mod distinct;
mod exit;
mod links;
mod location;
mod metadata;
mod output;
mod place;
mod places;
mod progress;
mod same;
mod signals;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) if said.use_stderr() => {
            return usage::failure(&said, std::env::args_os()).tell().into();
        }
        Err(help) => {
            // Nobody is left to tell if this cannot be written.
            let _ = help.print();
            return Exit::Done.into();
        }
    };
    cli.run().unwrap_or_else(Failure::tell).into()
}

/// Does something, unless a signal ends it before.
fn until_interrupted(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("starting", &error.into()))?;
    let outcome = runtime.block_on(async {
        let exit = tokio::select! {
            // First, so that no signal is missed once there is something to drop.
            biased;
            exit = signals::interrupted() => exit,
            outcome = work => return outcome,
        };
        signals::tidied().await;
        Err(Failure::told(exit))
    });
    // A read of standard input cannot be interrupted, so it is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}
