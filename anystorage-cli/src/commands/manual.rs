//! `manual`: writes the manual pages, for packages.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::{ExitStatus, Failure};

/// Write the manual pages of all commands to a directory: anystorage.1, anystorage-cp.1, ...
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Args {
    /// The directory, which is created
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitStatus, Failure> {
    let written = std::fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.directory));
    written
        .map_err(|error| Failure::local(&args.directory.display().to_string(), &error.into()))?;
    Ok(ExitStatus::Success)
}
