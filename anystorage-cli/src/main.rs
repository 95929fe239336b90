//! The `anystorage` command: list, copy and link to files in any storage.

mod cli;
mod commands;
mod compare;
mod copy;
mod exit;
mod links;
mod location;
mod metadata;
mod move_check;
mod output;
mod place;
mod progress;
mod resolver;
mod signals;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::cli::Cli;
use crate::exit::{ExitStatus, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            return usage::failure(&error, std::env::args_os()).report().into();
        }
        Err(help) => {
            // If standard output is closed, there is nothing to report and nowhere to report it.
            let _ = help.print();
            return ExitStatus::Success.into();
        }
    };
    cli.run().unwrap_or_else(Failure::report).into()
}

/// Runs a command until it ends or a signal interrupts it.
fn run_until_interrupted(
    work: impl Future<Output = Result<ExitStatus, Failure>>,
) -> Result<ExitStatus, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("starting", &error.into()))?;
    let outcome = runtime.block_on(async {
        let exit = tokio::select! {
            // The signal comes first, so that it is handled before there is anything to clean up.
            biased;
            exit = signals::wait_for_signal() => exit,
            outcome = work => return outcome,
        };
        signals::wait_for_background_tasks().await;
        Err(Failure::silent(exit))
    });
    // A read of standard input cannot be interrupted, so the command does not wait for it.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}
