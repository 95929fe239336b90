//! `mirror`: the mirror server of the cache tier, and the commands for its operators.
//!
//! | module | job |
//! |---|---|
//! | `server`, `notify` | the server itself; reporting its state to systemd |
//! | `keys` | the keys that an operator names |
//! | `purge`, `prefetch`, `status` | the commands for operators |

mod keys;
mod notify;
mod prefetch;
mod purge;
mod server;
mod status;

use std::path::PathBuf;

use anystorage::Registry;
use anystorage::mirror::{Day, ExportFormat};
use clap::Subcommand;

use crate::exit::{ExitStatus, Failure};
use crate::signals::run_until_interrupted;
use crate::verbosity::VerbosityArgs;

/// Serve the files of an origin from a self-filling cache, until SIGTERM or Ctrl-C
///
/// SIGHUP reads the configuration again, except origin, which needs a restart. The commands purge,
/// prefetch, status and top send requests to a running mirror. They read its address and its
/// admin_token from its configuration file, or use --url and the environment variable
/// ANYSTORAGE_MIRROR_TOKEN.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = "\
Examples:
  anystorage mirror --config mirror.toml --check
  anystorage mirror --config mirror.toml
  anystorage mirror purge --config mirror.toml episodes/001.mp3
  anystorage mirror prefetch --config mirror.toml --prefix episodes/2024/
  anystorage mirror status --url https://downloads.example.com/
  anystorage mirror top --config mirror.toml -n 5"
)]
pub(crate) struct Args {
    /// Configuration file of the mirror: listen, cache_dir, max_size, origin, ...
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Only check whether the mirror can start: configuration, directories, addresses, and whether
    /// origin responds
    #[arg(long, conflicts_with = "export")]
    check: bool,
    /// Only write a table of the downloads by day and key, as csv or jsonl
    #[arg(long, value_name = "FORMAT")]
    export: Option<ExportFormat>,
    /// The first day of the table
    #[arg(long, value_name = "YYYY-MM-DD", requires = "export")]
    from: Option<Day>,
    /// The last day of the table
    #[arg(long, value_name = "YYYY-MM-DD", requires = "export")]
    to: Option<Day>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    Purge(purge::Args),
    Prefetch(prefetch::Args),
    Status(status::StatusArgs),
    Top(status::TopArgs),
}

pub(crate) fn run(
    args: Args,
    registry: Registry,
    verbosity: VerbosityArgs,
) -> Result<ExitStatus, Failure> {
    let Some(command) = args.command else {
        // The parser requires the option if there is no command.
        let path = args.config.clone().ok_or_else(|| Failure::usage("add --config FILE"))?;
        // The server starts its own threads and handles signals itself.
        return server::run(&args, &path, registry, verbosity);
    };
    verbosity.init_log();
    run_until_interrupted(async {
        match command {
            Command::Purge(args) => purge::run(args).await,
            Command::Prefetch(args) => prefetch::run(args).await,
            Command::Status(args) => status::status(&args).await,
            Command::Top(args) => status::top(&args).await,
        }
    })
}
