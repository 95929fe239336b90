//! The command line: what there is to say, and who does it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{cat, config, cp, drivers, exists, get, ls, mirror, mv, put, rm, stat, url};
use crate::exit::{Exit, Failure};
use crate::places::Places;
use crate::until_interrupted;

/// List, copy and link to files in any storage.
///
/// A location is NAME:KEY (a storage of the configuration file or of STORAGE_<NAME>_URL), a URL
/// (s3://bucket/key, file:///abs/dir/file), or a local path (./x, /x); - is standard input or
/// output.
#[derive(Debug, Parser)]
#[command(
    name = "anystorage",
    version,
    max_term_width = 100,
    arg_required_else_help = false,
    after_help = "Exit: 0 done, 1 failed, 2 usage or configuration."
)]
pub(crate) struct Cli {
    /// The configuration file, in place of the one that STORAGE_CONFIG names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Verb(Verb),
    Drivers(drivers::Args),
    Mirror(mirror::Args),
}

/// What is done to objects, and then is done.
#[derive(Debug, Subcommand)]
enum Verb {
    Ls(ls::Args),
    Stat(stat::Args),
    Exists(exists::Args),
    Cat(cat::Args),
    Put(put::Args),
    Get(get::Args),
    Cp(cp::Args),
    Mv(mv::Args),
    Rm(rm::Args),
    Url(url::Args),
    #[command(subcommand)]
    Config(config::Command),
}

impl Cli {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Verb(verb) => until_interrupted(verb.run(self.config)),
            Command::Drivers(args) => drivers::run(&args),
            // A server has threads and a way to end of its own.
            Command::Mirror(args) => mirror::run(&args),
        }
    }
}

impl Verb {
    async fn run(self, config: Option<PathBuf>) -> Result<Exit, Failure> {
        let exists = matches!(self, Self::Exists(_));
        let mut places = Places::new(config)?;
        let outcome = match self {
            Self::Ls(args) => ls::run(args, &mut places).await,
            Self::Stat(args) => stat::run(args, &mut places).await,
            Self::Exists(args) => exists::run(args, &mut places).await,
            Self::Cat(args) => cat::run(args, &mut places).await,
            Self::Put(args) => put::run(args, &mut places).await,
            Self::Get(args) => get::run(args, &mut places).await,
            Self::Cp(args) => cp::run(args, &mut places).await,
            Self::Mv(args) => mv::run(args, &mut places).await,
            Self::Rm(args) => rm::run(args, &mut places).await,
            Self::Url(args) => url::run(args, &mut places).await,
            Self::Config(config::Command::Check(args)) => config::check(&args, &mut places).await,
        };
        // The answer "no" is 1, so trouble has to be something else.
        outcome.map_err(|failure| if exists { failure.with_exit(Exit::Usage) } else { failure })
    }
}
