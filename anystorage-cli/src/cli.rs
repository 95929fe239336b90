//! The command line: its arguments, and the dispatch to the commands.

use std::path::PathBuf;

use anystorage::Registry;
use anystorage::transfer::Stop;
use clap::{Parser, Subcommand};

use crate::commands::{
    cat, check, completions, config, cp, drivers, du, exists, get, ls, manual, meta, mirror, mv,
    publish, put, releases, rm, rollback, serve, stat, sync, transfer, uploads, url,
};
use crate::exit::{ExitStatus, Failure};
use crate::resolver::{Resolver, Setup};
use crate::signals::{run_server, run_until_interrupted, run_until_stopped};
use crate::verbosity::VerbosityArgs;

/// List, copy and link to files in any storage.
///
/// A location is NAME:KEY (a storage of the configuration file or of STORAGE_<NAME>_URL), a URL
/// (s3://bucket/key, file:///abs/dir/file), or a local path (./x, /x). With `-`, a command uses
/// standard input or output.
#[derive(Debug, Parser)]
#[command(
    name = "anystorage",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 success, 1 failure, 2 wrong usage or configuration, 75 run \
                  again (sync, check, transfer, publish, rollback).",
    after_long_help = "\
Examples:
  anystorage ls -lH media:avatars/
  anystorage put ./ada.png media:avatars/ada.png
  anystorage cp -r media: s3://example-backup/media
  anystorage sync --delete media: s3://example-backup/media
  anystorage url --expires 15m media:avatars/ada.png
  anystorage publish ./dist site:
  anystorage serve ./public

The configuration file has one table for each storage:
  [storages.media]
  driver = \"s3\"              # anystorage drivers lists the drivers, and drivers s3 its options
  bucket = \"example-media\"
  region = \"eu-west-1\"

Keys may be patterns: anystorage cp --help. Exit codes: 0 success, 1 failure, 2 wrong usage or
configuration; of sync, check, transfer, publish and rollback also 75: run again."
)]
pub(crate) struct Cli {
    /// Configuration file; defaults to the one that STORAGE_CONFIG names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    verbosity: VerbosityArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Verb(Verb),
    Sync(Box<sync::Args>),
    Check(check::Args),
    Publish(publish::Args),
    Rollback(rollback::Args),
    #[command(subcommand)]
    Transfer(Box<transfer::Command>),
    Drivers(drivers::Args),
    Serve(serve::Args),
    Mirror(mirror::Args),
    Completions(completions::Args),
    Manual(manual::Args),
}

/// A command that ends by itself, unlike the mirror server.
#[derive(Debug, Subcommand)]
enum Verb {
    Ls(ls::Args),
    Du(du::Args),
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
    Meta(meta::Command),
    #[command(subcommand)]
    Uploads(uploads::Command),
    Releases(releases::Args),
    #[command(subcommand)]
    Config(config::Command),
}

impl Cli {
    pub(crate) fn run(self, registry: Registry) -> Result<ExitStatus, Failure> {
        self.verbosity.apply();
        let setup = Setup { registry, config: self.config };
        match self.command {
            Command::Verb(verb) => {
                self.verbosity.init_log();
                run_until_interrupted(verb.run(setup))
            }
            Command::Sync(args) => {
                self.verbosity.init_log();
                let stop = Stop::new();
                run_until_stopped(&stop, sync::run(*args, setup, &stop))
            }
            Command::Check(args) => {
                self.verbosity.init_log();
                let stop = Stop::new();
                run_until_stopped(&stop, check::run(args, setup, &stop))
            }
            Command::Publish(args) => {
                self.verbosity.init_log();
                let stop = Stop::new();
                run_until_stopped(&stop, publish::run(args, setup, &stop))
            }
            Command::Rollback(args) => {
                self.verbosity.init_log();
                let stop = Stop::new();
                run_until_stopped(&stop, rollback::run(args, setup, &stop))
            }
            Command::Transfer(command) => {
                self.verbosity.init_log();
                let stop = Stop::new();
                run_until_stopped(&stop, transfer::run(*command, setup, &stop))
            }
            Command::Drivers(args) => drivers::run(&args, &setup.registry),
            Command::Serve(args) => {
                self.verbosity.init_log();
                run_server(async {
                    let mut resolver = Resolver::new(setup)?;
                    serve::run(args, &mut resolver).await
                })
            }
            Command::Completions(args) => completions::run(&args),
            Command::Manual(args) => manual::run(&args),
            Command::Mirror(args) => mirror::run(args, setup.registry, self.verbosity),
        }
    }
}

impl Verb {
    async fn run(self, setup: Setup) -> Result<ExitStatus, Failure> {
        let exists = matches!(self, Self::Exists(_));
        let mut resolver = match self {
            // It shares its configuration file with `publish`, which may define no storages.
            Self::Releases(_) => Resolver::without_storages(setup),
            _ => Resolver::new(setup)?,
        };
        let outcome = match self {
            Self::Ls(args) => ls::run(args, &mut resolver).await,
            Self::Du(args) => du::run(args, &mut resolver).await,
            Self::Stat(args) => stat::run(args, &mut resolver).await,
            Self::Exists(args) => exists::run(args, &mut resolver).await,
            Self::Cat(args) => cat::run(args, &mut resolver).await,
            Self::Put(args) => put::run(args, &mut resolver).await,
            Self::Get(args) => get::run(args, &mut resolver).await,
            Self::Cp(args) => cp::run(args, &mut resolver).await,
            Self::Mv(args) => mv::run(args, &mut resolver).await,
            Self::Rm(args) => rm::run(args, &mut resolver).await,
            Self::Url(args) => url::run(args, &mut resolver).await,
            Self::Meta(meta::Command::Set(args)) => meta::set(args, &mut resolver).await,
            Self::Uploads(command) => uploads::run(command, &mut resolver).await,
            Self::Releases(args) => releases::run(args, &mut resolver).await,
            Self::Config(config::Command::Check(args)) => config::check(&args, &mut resolver).await,
        };
        // `exists` exits with 1 if the object does not exist, so errors need another code.
        outcome
            .map_err(|failure| if exists { failure.with_exit(ExitStatus::Usage) } else { failure })
    }
}
