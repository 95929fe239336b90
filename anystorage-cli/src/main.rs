//! The `anystorage` command: list, copy and link to files in any storage.

mod cli;
mod commands;
mod compare;
mod copy;
mod exit;
mod headers;
mod links;
mod location;
mod metadata;
mod move_check;
mod moves;
mod output;
mod pattern;
mod place;
mod progress;
mod resolver;
mod server;
mod signals;
mod sizes;
mod source;
mod syncing;
mod transfer;
mod usage;
mod verbosity;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::exit::{ExitStatus, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // A command without arguments prints its help to standard error.
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = help.print();
            return ExitStatus::Usage.into();
        }
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
